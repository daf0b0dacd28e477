"""What a seller earns of a sale: the ledger's own rule, so that what is shown before the payment is what is paid.

The fee is floor(gross * basis points / 10,000). A refund gives floor(refunded * fee / gross) of it back, in all.
"""

from dataclasses import dataclass

from services.orders.domain.order_state import OrderState

BASIS_POINTS_WHOLE = 10_000
"""One whole in basis points."""

DUE = frozenset({OrderState.RESERVED, OrderState.CONFIRMED})
"""The money is held for the seller and not paid yet."""

PAID = frozenset({OrderState.SETTLED, OrderState.REFUNDING, OrderState.PARTIALLY_REFUNDED, OrderState.REFUNDED})
"""The seller got it; some may have gone back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earnings:
    """Of one sale, or of many of one currency, in minor units; net = gross - refunded - fee."""

    sales: int = 0
    gross_minor: int = 0
    refunded_minor: int = 0
    fee_minor: int = 0

    @property
    def net_minor(self) -> int:
        """What the seller has in the end."""
        return self.gross_minor - self.refunded_minor - self.fee_minor

    def plus(self, other: "Earnings") -> "Earnings":
        """Add others."""
        return Earnings(
            sales=self.sales + other.sales,
            gross_minor=self.gross_minor + other.gross_minor,
            refunded_minor=self.refunded_minor + other.refunded_minor,
            fee_minor=self.fee_minor + other.fee_minor,
        )


def earnings_of(*, gross_minor: int, refunded_minor: int, basis_points: int) -> Earnings:
    """Work out one sale."""
    fee_minor = gross_minor * basis_points // BASIS_POINTS_WHOLE
    returned_minor = refunded_minor * fee_minor // gross_minor if gross_minor else 0
    return Earnings(
        sales=1, gross_minor=gross_minor, refunded_minor=refunded_minor, fee_minor=fee_minor - returned_minor
    )
