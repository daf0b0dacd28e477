"""Settle an order by what the ledger published: the sellers are paid, or never will be.

Runs inside the transaction that remembers the event, so it takes effect once. The hold's totals decide, not the event's
place in time: an order that is being cancelled at this moment is left to the void's answer.
"""

from datetime import datetime
from uuid import UUID

from services.money import Money
from services.orders.domain.hold import Hold
from services.orders.domain.mover import LEDGER
from services.orders.domain.order import Rejection
from services.orders.domain.order_state import REFUNDABLE, OrderState
from services.orders.domain.shares import refunded_by_line
from services.orders.ports import Rows

REFUNDED_BY_LEDGER = "refunded_by_ledger"
"""The reason in the history of an order whose money came back so."""


async def settle_order(hold: Hold, *, rows: Rows, now: datetime, by: str = LEDGER) -> None:
    """Settle the CONFIRMED order whose hold was captured; holds of others and other states are left alone."""
    if not hold.is_settled:
        return
    order = await rows.orders.find(hold.hold_id)
    if order is not None and order.state is OrderState.CONFIRMED:
        settled = order.settle(Money(hold.captured_minor, order.total.currency), now)
        await rows.orders.save(settled, by=by, journal_sequence=hold.journal_sequence)


async def follow_refunds(hold: Hold, *, rows: Rows, now: datetime, by: str = LEDGER) -> bool:
    """Take over what the ledger gave back without orders: a reversal by the treasury, or a refund that got lost here.

    Orders' own refunds are REFUNDING before the ledger hears of them, so a paid order that has not moved and knows of
    less was never asked. Returns whether it was so.

    Where it can't be told whose lines it was for, nothing is done: an event names no sellers, and the comparison asks
    the ledger for them.
    """
    order = await rows.orders.find(hold.hold_id)
    if order is None or order.state not in REFUNDABLE or hold.captured_minor != order.captured.amount_minor:
        return False
    if hold.refunded_minor <= order.refunded.amount_minor:
        return False
    by_line_minor = refunded_by_line(order, hold)
    if by_line_minor is None:
        return False
    refunded = Money(hold.refunded_minor, order.total.currency)
    followed = order.follow_refunds(refunded, by_line_minor, REFUNDED_BY_LEDGER, now)
    await rows.orders.save(followed, by=by, journal_sequence=hold.journal_sequence)
    return True


async def fail_settlement(order_id: UUID, rejection: Rejection, *, rows: Rows, now: datetime, by: str = LEDGER) -> None:
    """End the CONFIRMED order whose capture was refused for good; the reconciler frees the money."""
    order = await rows.orders.find(order_id)
    if order is not None and order.state is OrderState.CONFIRMED:
        await rows.products.move_stock(order.stock_set_aside())
        await rows.orders.save(order.fail_settlement(rejection, now), by=by)
