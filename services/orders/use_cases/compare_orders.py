"""Compare orders with their holds, by the ledger's own answers."""

from collections.abc import Sequence
from datetime import datetime

from services.orders.domain.discrepancy import Discrepancy, OrderSums, discrepancy_of
from services.orders.ports import Ledger


async def compare_orders(orders: Sequence[OrderSums], *, ledger: Ledger, now: datetime) -> list[Discrepancy]:
    """Tell which of the orders disagree with their holds; changes nothing.

    Raises:
        UnavailableError: The ledger is away: nothing is known.
    """
    holds = await ledger.find_holds([order.order_id for order in orders if order.needs_hold()])
    compared = (discrepancy_of(order, holds.get(order.order_id), now) for order in orders)
    return [discrepancy for discrepancy in compared if discrepancy is not None]
