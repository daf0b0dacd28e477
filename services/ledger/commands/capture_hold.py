"""Pay sellers from a hold, and the platform its fees. Funds are never checked again: the hold is the promise."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from msgspec import Struct

from services.ledger.commands.expire_hold import expire
from services.ledger.commands.guards import account_of, require_active, require_hold, require_owner
from services.ledger.commands.outcome import Draft, Outcome, accepted, refused
from services.ledger.commands.shape import KeyedCommand, require_capture_number, require_positive, require_sellers
from services.ledger.commands.state import BookState
from services.ledger.domain.account import Account, AccountType
from services.ledger.domain.canonical import Field
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.refusals import (
    AllocationsMismatchError,
    CaptureExistsError,
    ExceedsHoldError,
    HoldCurrencyMismatchError,
    HoldExpiredError,
)
from services.ledger.domain.rounding import BASIS_POINTS_WHOLE, next_fee
from services.ledger.domain.wallet_event import FundsCaptured, SaleCredited, SettlementRefused
from services.money import Money
from services.runtime.errors import InvalidArgumentError, RejectedError


class Allocation(Struct, frozen=True, kw_only=True, gc=False):
    """What one seller gets: gross, fee included, in minor units of the hold's currency."""

    seller_id: UUID
    gross_minor: int
    fee_basis_points: int


class CaptureFunds(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module. The caller numbers a hold's captures from 1; `final` releases what remains.

    `report_refusal` is set by the consumer of order-events: a refusal is then told to the buyer's wallet, once, as
    SettlementRefused, and is final, whatever its reason. It is no part of the fingerprint. `service` must be the one
    that reserved, for events too.
    """

    kind: ClassVar[str] = "capture_funds"

    hold_id: UUID
    wallet_id: UUID
    capture_number: int
    amount: Money
    allocations: tuple[Allocation, ...]
    final: bool = False
    report_refusal: bool = False

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        fields: list[Field] = [self.hold_id, self.wallet_id, self.capture_number]
        fields += (self.amount.amount_minor, self.amount.currency, self.final, len(self.allocations))
        for allocation in self.allocations:
            fields += (allocation.seller_id, allocation.gross_minor, allocation.fee_basis_points)
        return tuple(fields)

    def check_shape(self) -> None:
        """Guard: number, sellers, their amounts (invalid_amount) and rates (fee_malformed)."""
        require_capture_number(self.capture_number)
        require_sellers([allocation.seller_id for allocation in self.allocations])
        for allocation in self.allocations:
            require_positive(allocation.gross_minor)
            if not 0 <= allocation.fee_basis_points <= BASIS_POINTS_WHOLE:
                raise InvalidArgumentError(f"A fee has 0 to {BASIS_POINTS_WHOLE} basis points.", reason="fee_malformed")


def decide_capture_funds(state: BookState, command: CaptureFunds, now: datetime) -> Outcome:
    """Capture, or expire a hold that is overdue; tell the wallet of a refusal if the command says so.

    Guards in order: exists (hold_not_found), owner (not_hold_owner), asset (currency_mismatch), OPEN or COMMITTED
    (hold_closed), OPEN and due: expire and refuse (hold_expired), a new number (capture_exists), the sellers' parts sum
    up (allocations_mismatch), at most what remains (exceeds_hold), destinations (opened if need be), overflow
    (balance_overflow).
    """
    try:
        hold = require_hold(state, command.hold_id)
        require_owner(hold, command.wallet_id, command.service)
        _require_currency(hold, command.amount)
        require_active(hold)
        if hold.is_due(now):
            return _refuse_overdue(state, command, hold, now)
        _require_new_number(state, command)
        _require_sum(command)
        _require_remaining(hold, command.amount)
        return _capture(state, command, hold, now)
    except RejectedError as refusal:
        return _refuse(Draft(state, now, command), command, refusal)


def _capture(state: BookState, command: CaptureFunds, hold: Hold, now: datetime) -> Outcome:
    draft = Draft(state, now, command)
    revenue = draft.open_system_account(AccountType.REVENUE, hold.currency)
    sellers = [draft.open_wallet_account(each.seller_id, hold.currency) for each in command.allocations]
    sequence = draft.next_sequence
    amount_minor = command.amount.amount_minor
    captured = hold.capture(amount_minor, sequence, final=command.final)
    legs = tuple(
        _leg(state, command, allocation, seller, sequence)
        for allocation, seller in zip(command.allocations, sellers, strict=True)
    )

    buyer = draft.set_aside(account_of(state, hold), captured.remaining_minor - hold.remaining_minor)
    postings = [(buyer.code, -amount_minor)]
    postings += [(seller.code, leg.gross_minor - leg.fee_minor) for leg, seller in zip(legs, sellers, strict=True)]
    postings.append((revenue.code, sum([leg.fee_minor for leg in legs])))
    draft.record(RecordKind.CAPTURE, hold=captured, legs=legs, postings=draft.post(postings))

    draft.emit(hold.wallet_id, buyer, FundsCaptured(captured, command.amount, command.capture_number))
    for leg, seller in zip(legs, sellers, strict=True):
        gross, fee = Money(leg.gross_minor, hold.currency), Money(leg.fee_minor, hold.currency)
        draft.emit(leg.seller_id, seller, SaleCredited(hold.hold_id, leg.capture_number, gross, fee))
    return accepted(draft)


def _leg(state: BookState, command: CaptureFunds, allocation: Allocation, seller: Account, sequence: int) -> CaptureLeg:
    """Compute one seller's part, its fee rounded over all captures of the hold at the same rate."""
    before = [
        leg
        for leg in state.legs_of(command.hold_id)
        if leg.seller_id == allocation.seller_id and leg.fee_basis_points == allocation.fee_basis_points
    ]
    fee = next_fee(
        captured_minor=sum([leg.gross_minor for leg in before]),
        gross_minor=allocation.gross_minor,
        basis_points=allocation.fee_basis_points,
        fee_taken_minor=sum([leg.fee_minor for leg in before]),
    )
    return CaptureLeg(
        hold_id=command.hold_id,
        capture_number=command.capture_number,
        seller_id=allocation.seller_id,
        account_id=seller.account_id,
        fee_basis_points=allocation.fee_basis_points,
        gross_minor=allocation.gross_minor,
        fee_minor=fee,
        last_sequence=sequence,
    )


def _refuse_overdue(state: BookState, command: CaptureFunds, hold: Hold, now: datetime) -> Outcome:
    draft = Draft(state, now, command)
    expire(draft, hold, account_of(state, hold))
    return _refuse(draft, command, HoldExpiredError("The hold's time has passed."))


def _refuse(draft: Draft, command: CaptureFunds, refusal: RejectedError) -> Outcome:
    if command.report_refusal:
        fact = SettlementRefused(command.hold_id, command.capture_number, refusal.reason, refusal.message)
        draft.emit_refusal(command.wallet_id, command.amount.currency, fact)
    return refused(refusal, draft, final=command.report_refusal)


def _require_currency(hold: Hold, amount: Money) -> None:
    # A tombstone has no currency; that it is closed says more.
    if hold.currency not in ("", amount.currency):
        raise HoldCurrencyMismatchError(f"The hold is in {hold.currency}.", details={"currency": hold.currency})


def _require_new_number(state: BookState, command: CaptureFunds) -> None:
    if any(leg.capture_number == command.capture_number for leg in state.legs_of(command.hold_id)):
        raise CaptureExistsError(f"Capture {command.capture_number} was made under another key.")


def _require_sum(command: CaptureFunds) -> None:
    total = sum([allocation.gross_minor for allocation in command.allocations])
    if total != command.amount.amount_minor:
        raise AllocationsMismatchError(f"The sellers' parts sum to {total}, not {command.amount.amount_minor}.")


def _require_remaining(hold: Hold, amount: Money) -> None:
    if amount.amount_minor > hold.remaining_minor:
        raise ExceedsHoldError(
            f"{amount.amount_minor} minor units were asked and {hold.remaining_minor} remain.",
            details={"remaining_minor": str(hold.remaining_minor)},
        )
