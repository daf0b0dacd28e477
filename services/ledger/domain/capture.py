"""What each seller got of each capture, and gave back."""

from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from services.ledger.domain.rounding import fee_returned_of


class CaptureLeg(Struct, frozen=True, kw_only=True, gc=False):
    """One seller's part of one capture; amounts in minor units of the hold's currency.

    `reversed_by` is the record that reversed the capture, if this leg had something to give back then; 0: none.
    """

    hold_id: UUID
    capture_number: int
    seller_id: UUID
    account_id: int
    fee_basis_points: int
    gross_minor: int
    fee_minor: int
    gross_refunded_minor: int = 0
    fee_returned_minor: int = 0
    reversed_by: int = 0
    last_sequence: int

    @property
    def refundable_minor(self) -> int:
        """What the buyer may still get back of it."""
        return self.gross_minor - self.gross_refunded_minor

    def refund(self, gross_minor: int, sequence: int) -> "CaptureLeg":
        """Give a part back, with the fee's share; the caller made sure that it is at most `refundable_minor`."""
        refunded = self.gross_refunded_minor + gross_minor
        return replace(
            self,
            gross_refunded_minor=refunded,
            fee_returned_minor=fee_returned_of(refunded, gross_minor=self.gross_minor, fee_minor=self.fee_minor),
            last_sequence=sequence,
        )
