"""Settle an order by what the ledger published: the sellers are paid, or never will be.

Runs inside the transaction that remembers the event, so it takes effect once. The hold's totals decide, not the event's
place in time: an order that is being cancelled at this moment is left to the void's answer.
"""

from datetime import datetime
from uuid import UUID

from services.money import Money
from services.orders.domain.hold import Hold
from services.orders.domain.order import Rejection
from services.orders.domain.order_state import OrderState
from services.orders.ports import Rows


async def settle_order(hold: Hold, *, rows: Rows, now: datetime) -> None:
    """Settle the CONFIRMED order whose hold was captured; holds of others and other states are left alone."""
    if not hold.is_settled:
        return
    order = await rows.orders.find(hold.hold_id)
    if order is not None and order.state is OrderState.CONFIRMED:
        await rows.orders.save(order.settle(Money(hold.captured_minor, order.total.currency), now))


async def fail_settlement(order_id: UUID, rejection: Rejection, *, rows: Rows, now: datetime) -> None:
    """End the CONFIRMED order whose capture was refused for good; the reconciler frees the money."""
    order = await rows.orders.find(order_id)
    if order is not None and order.state is OrderState.CONFIRMED:
        await rows.products.move_stock(order.stock_set_aside())
        await rows.orders.save(order.fail_settlement(rejection, now))
