"""Give captured money back: what refunds and reversals of captures share.

Each seller's wallet pays its net, revenue the fee's share, and the buyer receives the gross. What a seller lacks is
refused, or charged to the seller's receivable account: the platform pays it, and the seller owes it.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from services.ledger.commands.outcome import Draft
from services.ledger.commands.state import BookState
from services.ledger.domain.account import AccountType, wallet_account_code
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.wallet_event import RefundCredited, RefundDebited
from services.money import Money


class Share(Struct, frozen=True):
    """What goes back of one leg, in minor units; `lacking_minor` of the seller's net is charged as receivable."""

    leg: CaptureLeg
    gross_minor: int
    fee_minor: int
    lacking_minor: int
    code: str

    @property
    def net_minor(self) -> int:
        """What the seller owes back."""
        return self.gross_minor - self.fee_minor


def share_of(
    state: BookState, leg: CaptureLeg, gross_minor: int, currency: str, *, shortfall_to_receivable: bool
) -> Share:
    """Compute what a leg gives back, and guard the seller's funds.

    Raises:
        InsufficientFundsError: The seller has less than the net, and it is not to be charged as receivable.
    """
    account = state.accounts[wallet_account_code(leg.seller_id, currency)]
    fee_minor = leg.refund(gross_minor, leg.last_sequence).fee_returned_minor - leg.fee_returned_minor
    net_minor = gross_minor - fee_minor
    lacking_minor = 0
    if shortfall_to_receivable:
        lacking_minor = max(0, net_minor - max(0, account.available_minor))
    else:
        account.require_available(net_minor)
    return Share(leg, gross_minor, fee_minor, lacking_minor, account.code)


def give_back(draft: Draft, hold: Hold, capture_number: int, shares: Sequence[Share], *, reverses: int = 0) -> None:
    """Post the shares as one entry, and tell the buyer and the sellers. `reverses` is the capture's record, or 0.

    Raises:
        BalanceOverflowError: A balance would pass its limit.
    """
    buyer = draft.open_wallet_account(hold.wallet_id, hold.currency)
    revenue = draft.open_system_account(AccountType.REVENUE, hold.currency)
    postings: list[tuple[str, int]] = []
    for share in shares:
        postings.append((share.code, share.lacking_minor - share.net_minor))
        if share.lacking_minor:
            receivable = draft.open_receivable_account(share.leg.seller_id, hold.currency)
            postings.append((receivable.code, -share.lacking_minor))
    gross_minor = sum([share.gross_minor for share in shares])
    postings.append((revenue.code, -sum([share.fee_minor for share in shares])))
    postings.append((buyer.code, gross_minor))

    sequence = draft.next_sequence
    refunded = hold.refund(gross_minor, sequence)
    legs = [share.leg.refund(share.gross_minor, sequence) for share in shares]
    if reverses:
        legs = [replace(leg, reversed_by=sequence) for leg in legs]
    kind = RecordKind.REVERSE if reverses else RecordKind.REFUND
    draft.record(kind, hold=refunded, legs=tuple(legs), postings=draft.post(postings), reverses=reverses)

    draft.emit(hold.wallet_id, buyer, RefundCredited(refunded, Money(gross_minor, hold.currency), capture_number))
    for share in shares:
        _tell_seller(draft, hold, capture_number, share)


def _tell_seller(draft: Draft, hold: Hold, capture_number: int, share: Share) -> None:
    gross, fee, lacking = [
        Money(minor, hold.currency) for minor in (share.gross_minor, share.fee_minor, share.lacking_minor)
    ]
    fact = RefundDebited(hold.hold_id, capture_number, gross, fee, lacking)
    draft.emit(share.leg.seller_id, draft.open_wallet_account(share.leg.seller_id, hold.currency), fact)
