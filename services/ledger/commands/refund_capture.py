"""Give captured money back to the buyer: sellers pay their net, the platform its share of the fee."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from services.ledger.commands.guards import require_owner
from services.ledger.commands.outcome import Draft, Outcome, accepted
from services.ledger.commands.shape import KeyedCommand, require_capture_number, require_positive, require_sellers
from services.ledger.commands.state import BookState
from services.ledger.domain.account import AccountType, wallet_account_code
from services.ledger.domain.canonical import Field
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.refusals import CaptureNotFoundError, ExceedsCaptureError
from services.ledger.domain.wallet_event import RefundCredited, RefundDebited
from services.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundLeg:
    """What one seller's part gives back: gross, in minor units of the hold's currency."""

    seller_id: UUID
    gross_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundCapture(KeyedCommand):
    """See the module; the wallet must be the hold's and receives the refund."""

    kind: ClassVar[str] = "refund_capture"

    hold_id: UUID
    wallet_id: UUID
    capture_number: int
    legs: tuple[RefundLeg, ...]

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        fields: list[Field] = [self.hold_id, self.wallet_id, self.capture_number, len(self.legs)]
        for leg in self.legs:
            fields += (leg.seller_id, leg.gross_minor)
        return tuple(fields)

    def check_shape(self) -> None:
        """Guard: number, sellers, and their amounts (invalid_amount)."""
        require_capture_number(self.capture_number)
        require_sellers([leg.seller_id for leg in self.legs])
        for leg in self.legs:
            require_positive(leg.gross_minor)


@dataclass(frozen=True, slots=True)
class _Share:
    """One leg before and after, and what moves."""

    after: CaptureLeg
    gross_minor: int
    fee_minor: int
    code: str


def decide_refund_capture(state: BookState, command: RefundCapture, now: datetime) -> Outcome:
    """Refund.

    Guards in order: the capture exists (capture_not_found), owner (not_hold_owner), asset (legs have the hold's), each
    leg at most captured - refunded (exceeds_capture), the sellers' funds (insufficient_funds), destination (opened if
    need be), overflow (balance_overflow).
    """
    hold = _require_capture(state, command)
    require_owner(hold, command.wallet_id, command.service)
    before = _require_refundable(state, command)
    draft = Draft(state, now, command.key_hash)
    buyer = draft.open_wallet_account(hold.wallet_id, hold.currency)
    revenue = draft.open_system_account(AccountType.REVENUE, hold.currency)
    shares = [
        _share(leg, asked.gross_minor, hold.currency, draft.next_sequence)
        for leg, asked in zip(before, command.legs, strict=True)
    ]
    for share in shares:
        state.accounts[share.code].require_available(share.gross_minor - share.fee_minor)

    gross_minor = sum([share.gross_minor for share in shares])
    refunded = hold.refund(gross_minor, draft.next_sequence)
    postings = [(share.code, share.fee_minor - share.gross_minor) for share in shares]
    postings.append((revenue.code, -sum([share.fee_minor for share in shares])))
    postings.append((buyer.code, gross_minor))
    legs = tuple([share.after for share in shares])
    draft.record(RecordKind.REFUND, hold=refunded, legs=legs, postings=draft.post(postings))

    amount = Money(gross_minor, hold.currency)
    draft.emit(hold.wallet_id, buyer, RefundCredited(refunded, amount, command.capture_number))
    for share in shares:
        gross, fee = Money(share.gross_minor, hold.currency), Money(share.fee_minor, hold.currency)
        fact = RefundDebited(hold.hold_id, command.capture_number, gross, fee)
        draft.emit(share.after.seller_id, state.accounts[share.code], fact)
    return accepted(draft)


def _share(leg: CaptureLeg, gross_minor: int, currency: str, sequence: int) -> _Share:
    after = leg.refund(gross_minor, sequence)
    fee_minor = after.fee_returned_minor - leg.fee_returned_minor
    return _Share(after, gross_minor, fee_minor, wallet_account_code(leg.seller_id, currency))


def _require_capture(state: BookState, command: RefundCapture) -> Hold:
    hold = state.holds.get(command.hold_id)
    numbers = {leg.capture_number for leg in state.legs_of(command.hold_id)}
    if hold is None or command.capture_number not in numbers:
        raise CaptureNotFoundError(f"The hold has no capture {command.capture_number}.")
    return hold


def _require_refundable(state: BookState, command: RefundCapture) -> list[CaptureLeg]:
    legs = []
    for asked in command.legs:
        leg = state.leg(command.hold_id, command.capture_number, asked.seller_id)
        refundable = 0 if leg is None else leg.refundable_minor
        if leg is None or asked.gross_minor > refundable:
            raise ExceedsCaptureError(
                f"{asked.gross_minor} minor units were asked of a seller and {refundable} can go back.",
                details={"seller_id": str(asked.seller_id), "refundable_minor": str(refundable)},
            )
        legs.append(leg)
    return legs
