"""Give captured money back to the buyer: sellers pay their net, the platform its share of the fee."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from msgspec import Struct

from services.ledger.commands.giving_back import give_back, share_of
from services.ledger.commands.guards import require_owner
from services.ledger.commands.outcome import Draft, Outcome, accepted
from services.ledger.commands.shape import KeyedCommand, require_capture_number, require_positive, require_sellers
from services.ledger.commands.state import BookState
from services.ledger.domain.canonical import Field
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.refusals import CaptureNotFoundError, CaptureReversedError, ExceedsCaptureError


class RefundLeg(Struct, frozen=True, kw_only=True, gc=False):
    """What one seller's part gives back: gross, in minor units of the hold's currency."""

    seller_id: UUID
    gross_minor: int


class RefundCapture(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module; the wallet must be the hold's and receives the refund.

    `shortfall_to_receivable` says what happens when a seller has less than the refund takes: refuse, or charge what
    lacks to the seller's receivable account. It is the ledger's setting and no part of the fingerprint.
    """

    kind: ClassVar[str] = "refund_capture"

    hold_id: UUID
    wallet_id: UUID
    capture_number: int
    legs: tuple[RefundLeg, ...]
    shortfall_to_receivable: bool = False

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


def decide_refund_capture(state: BookState, command: RefundCapture, now: datetime) -> Outcome:
    """Refund.

    Guards in order: the capture exists (capture_not_found), owner (not_hold_owner), asset (legs have the hold's), not
    reversed (capture_reversed), each leg at most captured - refunded (exceeds_capture), the sellers' funds
    (insufficient_funds, unless a shortfall goes to the receivable account), destination (opened if need be), overflow
    (balance_overflow).
    """
    hold = _require_capture(state, command)
    require_owner(hold, command.wallet_id, command.service)
    _require_not_reversed(state, command)
    legs = _require_refundable(state, command)
    shares = [
        share_of(state, leg, asked.gross_minor, hold.currency, shortfall_to_receivable=command.shortfall_to_receivable)
        for leg, asked in zip(legs, command.legs, strict=True)
    ]
    draft = Draft(state, now, command)
    give_back(draft, hold, command.capture_number, shares)
    return accepted(draft)


def _require_capture(state: BookState, command: RefundCapture) -> Hold:
    hold = state.holds.get(command.hold_id)
    numbers = {leg.capture_number for leg in state.legs_of(command.hold_id)}
    if hold is None or command.capture_number not in numbers:
        raise CaptureNotFoundError(f"The hold has no capture {command.capture_number}.")
    return hold


def _require_not_reversed(state: BookState, command: RefundCapture) -> None:
    for leg in state.legs_of(command.hold_id):
        if leg.capture_number == command.capture_number and leg.reversed_by:
            raise CaptureReversedError("The capture was reversed.", details={"journal_sequence": str(leg.reversed_by)})


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
