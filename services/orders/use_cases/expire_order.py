"""Expire an order that nobody confirmed in time: money and stock are free again."""

from uuid import UUID

from services.orders.domain.mover import RECONCILER
from services.orders.domain.order import Order
from services.orders.domain.order_state import OrderState
from services.orders.ports import Ledger, Store
from services.orders.use_cases.undo_order import undo_order
from services.runtime.clock import Clock

WAITING = frozenset({OrderState.PENDING, OrderState.RESERVED})
"""Where an order waits for somebody, and time runs."""


async def expire_order(order_id: UUID, *, store: Store, ledger: Ledger, clock: Clock) -> Order:
    """Expire a PENDING or RESERVED order; one that moved on meanwhile is left alone.

    The void leaves a tombstone where the ledger has no hold, so that a reserve that is still on its way is refused. An
    order whose sellers are paid already becomes SETTLED.

    Raises:
        UnavailableError: The ledger is away. The order stays EXPIRING, and the reconciler goes on.
    """
    async with store.transaction() as rows:
        order = await rows.orders.find(order_id)
        if order is not None and order.state in WAITING:
            await rows.orders.save(order.begin_expiring(clock.now()), by=RECONCILER)
    return await undo_order(order_id, store=store, ledger=ledger, clock=clock, by=RECONCILER)
