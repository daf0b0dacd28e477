"""Set right what an order and its hold disagree on, where the ledger's totals leave no doubt.

The hold is read again and the order is locked and must not have moved since it was compared; see `domain.discrepancy`.
"""

from services.orders.domain.discrepancy import Discrepancy, DiscrepancyKind
from services.orders.domain.mover import RECONCILER
from services.orders.domain.order import Order
from services.orders.ports import Ledger, Rows, Store
from services.orders.use_cases.settle_order import follow_refunds, settle_order
from services.orders.use_cases.undo_order import release_hold
from services.runtime.clock import Clock
from services.runtime.errors import RefusedError


async def heal_order(
    discrepancy: Discrepancy, *, store: Store, ledger: Ledger, clock: Clock, asks_again: bool = False
) -> bool:
    """Heal what may be healed; return whether the order and its hold agree by now.

    A capture that is overdue is asked for once more, by the event that asked first: its key makes it one capture. That
    heals nothing at once, and the next comparison tells. It is asked for only once, unless a person `asks_again`: where
    events are parked, each more is one more dead letter.

    Raises:
        UnavailableError: The ledger is away; nothing is lost.
    """
    match discrepancy.kind:
        case DiscrepancyKind.CAPTURE_MISSED | DiscrepancyKind.REFUND_MISSED:
            return await _follow_hold(discrepancy, store=store, ledger=ledger, clock=clock)
        case DiscrepancyKind.CAPTURE_OVERDUE:
            return await _ask_for_capture(discrepancy, store=store, clock=clock, asks_again=asks_again)
        case DiscrepancyKind.MONEY_HELD:
            return await _release(discrepancy, store=store, ledger=ledger)
        case _:
            return False


async def unmoved(rows: Rows, discrepancy: Discrepancy) -> Order | None:
    """Lock and return the order, if it is still as it was compared; what was found of one that moved says nothing."""
    order = await rows.orders.find(discrepancy.order_id)
    return order if order is not None and order.version == discrepancy.order_version else None


async def _follow_hold(discrepancy: Discrepancy, *, store: Store, ledger: Ledger, clock: Clock) -> bool:
    hold = await ledger.find_hold(discrepancy.order_id)
    if hold is None:
        return False
    async with store.transaction() as rows:
        order = await unmoved(rows, discrepancy)
        if order is None:
            return False
        if discrepancy.kind is DiscrepancyKind.REFUND_MISSED:
            return await follow_refunds(hold, rows=rows, now=clock.now(), by=RECONCILER)
        await settle_order(hold, rows=rows, now=clock.now(), by=RECONCILER)
        return hold.is_settled


async def _ask_for_capture(discrepancy: Discrepancy, *, store: Store, clock: Clock, asks_again: bool) -> bool:
    async with store.transaction() as rows:
        order = await unmoved(rows, discrepancy)
        if order is not None and (asks_again or not await rows.comparisons.is_open(discrepancy)):
            rows.events.order_confirmed(order, clock.now())
    return False


async def _release(discrepancy: Discrepancy, *, store: Store, ledger: Ledger) -> bool:
    async with store.transaction() as rows:
        order = await unmoved(rows, discrepancy)
    if order is None:
        return False
    try:
        hold = await release_hold(order, ledger=ledger)
    except RefusedError:
        return False
    return hold.remaining_minor == 0
