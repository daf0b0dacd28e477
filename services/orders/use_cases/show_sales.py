"""Show merchants what they sold, what they earned, and what is due to them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.orders.domain.earnings import DUE, PAID, Earnings, earnings_of
from services.orders.domain.order_state import OrderState
from services.orders.list_part import Part
from services.orders.selling_ports import Sale, SaleFilter, SellingReads
from services.runtime.errors import InvalidArgumentError
from services.runtime.ids import first_id_of

SUMMED_MAX: Final = 50_000
"""Sales of one summary: what is read within a second or two. A longer time is asked for in parts."""

A_STEP_MAX: Final = 5_000
"""Sales of one read of a summary."""

EARNING: Final = tuple(sorted(DUE | PAID, key=lambda state: state.value))
"""Where a sale is worth something to its seller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """A sale, and what its seller has of it."""

    sale: Sale
    earnings: Earnings

    @property
    def is_paid(self) -> bool:
        """Whether the money is in the seller's wallet."""
        return OrderState(self.sale.state) in PAID


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a seller was paid in one currency, and what is held for them and not paid yet."""

    paid: Earnings
    due: Earnings


async def show_sales(
    *,
    seller_id: UUID,
    state: OrderState | None,
    currency: str,
    placed_from: datetime | None,
    placed_until: datetime | None,
    before: UUID | None,
    sales_max: int,
    reads: SellingReads,
) -> Part[Earned]:
    """List a seller's sales, newest first: placed at `placed_from` or later and before `placed_until`."""
    states = EARNING if state is None else (state,)
    after, end = _bounds(placed_from, placed_until)
    part = await reads.sales(
        SaleFilter(
            seller_id=seller_id,
            states=[one.value for one in states],
            currency=currency,
            before=min(before, end) if before is not None else end,
            after=after,
            sales_max=sales_max,
        )
    )
    return Part(items=[_earned(sale) for sale in part.items], next_before=part.next_before)


async def sum_sales(
    *,
    seller_id: UUID,
    currency: str,
    placed_from: datetime | None,
    placed_until: datetime | None,
    reads: SellingReads,
) -> Summary:
    """Sum a seller's sales in one currency.

    Raises:
        InvalidArgumentError: `too_many_sales`: ask for a shorter time.
    """
    paid, due, summed = Earnings(), Earnings(), 0
    before: UUID | None = None
    while True:
        part = await show_sales(
            seller_id=seller_id,
            state=None,
            currency=currency,
            placed_from=placed_from,
            placed_until=placed_until,
            before=before,
            sales_max=A_STEP_MAX,
            reads=reads,
        )
        for one in part.items:
            paid, due = (paid.plus(one.earnings), due) if one.is_paid else (paid, due.plus(one.earnings))
        summed += len(part.items)
        if part.next_before is None:
            return Summary(paid=paid, due=due)
        if summed >= SUMMED_MAX:
            raise InvalidArgumentError(f"More than {SUMMED_MAX} sales.", reason="too_many_sales")
        before = part.next_before


def _earned(sale: Sale) -> Earned:
    # Older code wrote what the treasury reversed to the order, and to none of its lines.
    refunded_minor = sale.gross_minor if sale.state == OrderState.REFUNDED.value else sale.refunded_minor
    earnings = earnings_of(
        gross_minor=sale.gross_minor, refunded_minor=refunded_minor, basis_points=sale.fee_basis_points
    )
    return Earned(sale=sale, earnings=earnings)


def _bounds(placed_from: datetime | None, placed_until: datetime | None) -> tuple[UUID, UUID]:
    """Turn a time into the ids that orders of it lie between, since ids begin with the time."""
    after = UUID(int=0) if placed_from is None else UUID(int=max(first_id_of(placed_from).int - 1, 0))
    before = UUID(int=2**128 - 1) if placed_until is None else first_id_of(placed_until)
    return after, before
