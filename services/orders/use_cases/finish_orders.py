"""Finish orders that were left in the middle: by a crash, a lost answer, a ledger that was away, or by time.

Orders tell by themselves when somebody should look (`due_at`). Asking the ledger is safe: every command has a key that
follows from the order. What this never does is reserve, because only the buyer's own token can.
"""

import asyncio
from uuid import UUID

import structlog

from services.orders.domain.mover import RECONCILER
from services.orders.domain.order import CaptureMode, Order, Rejection
from services.orders.domain.order_state import OrderState
from services.orders.domain.terms import Terms
from services.orders.ports import Ledger, Store
from services.orders.use_cases.confirm_order import confirm_in
from services.orders.use_cases.expire_order import expire_order
from services.orders.use_cases.placing import accept_hold
from services.orders.use_cases.settle_order import fail_settlement, settle_order
from services.orders.use_cases.undo_order import release_hold, undo_order
from services.runtime.clock import Clock
from services.runtime.errors import RefusedError, TradeFlowError

ORDERS_A_PASS_MAX = 100
"""Orders taken at once: one short transaction, and little enough that a stop waits for few calls."""

ORDERS_AT_ONCE = 5
"""Orders worked on side by side: after an outage many are due, and customers need the other half of the connections."""

logger = structlog.get_logger(__name__)


async def finish_orders(
    *, store: Store, ledger: Ledger, clock: Clock, terms: Terms, orders_at_once: int = ORDERS_AT_ONCE
) -> int:
    """Look after the orders that are due; return how many were looked at.

    One order's trouble doesn't keep the others waiting: it comes again later. A ledger that is away is one line in the
    log, however many orders wait for it.
    """
    async with store.transaction() as rows:
        order_ids = await rows.orders.take_due(clock.now(), orders_max=ORDERS_A_PASS_MAX)
    remaining = iter(order_ids)
    postponed: dict[str, list[UUID]] = {}

    async def finish_remaining() -> None:
        for order_id in remaining:
            try:
                await finish_order(order_id, store=store, ledger=ledger, clock=clock, terms=terms)
            except TradeFlowError as error:
                postponed.setdefault(error.reason, []).append(order_id)
            except Exception:  # the edge of the loop: any bug in one order must not stop the others
                logger.exception("order_not_finished", order_id=str(order_id))

    await asyncio.gather(*(finish_remaining() for _ in range(orders_at_once)))
    for reason, waiting in postponed.items():
        logger.warning("orders_not_finished", reason=reason, count=len(waiting), first_order_id=str(waiting[0]))
    return len(order_ids)


async def finish_order(order_id: UUID, *, store: Store, ledger: Ledger, clock: Clock, terms: Terms) -> None:
    """Take one order as far as it can go without anybody.

    Raises:
        TradeFlowError: Not now; nothing is lost.
    """
    async with store.transaction() as rows:
        order = await rows.orders.find(order_id)
    if order is None:
        return
    match order.state:
        case OrderState.PENDING:
            await _finish_pending(order, store=store, ledger=ledger, clock=clock, terms=terms)
        case OrderState.RESERVED:
            await _finish_reserved(order, store=store, ledger=ledger, clock=clock)
        case OrderState.CONFIRMED:
            await _settle_by_hold(order, store=store, ledger=ledger, clock=clock)
        case OrderState.CANCELLING | OrderState.EXPIRING | OrderState.REFUNDING:
            await undo_order(order_id, store=store, ledger=ledger, clock=clock, by=RECONCILER)
        case OrderState.SETTLEMENT_FAILED:
            await _free_money(order, store=store, ledger=ledger)
        case _:
            async with store.transaction() as rows:
                await rows.orders.rest(order_id)


async def _finish_pending(order: Order, *, store: Store, ledger: Ledger, clock: Clock, terms: Terms) -> None:
    """The answer to the reserve was lost, or it never got there: ask by the order's id.

    No hold yet is no answer: the buyer may repeat the call for a while, which is shorter than the order's life, since
    its stock is kept from others.
    """
    hold = await ledger.find_hold(order.order_id)
    if hold is None:
        if clock.now() >= order.unheld_until(terms.unheld_lifetime):
            await expire_order(order.order_id, store=store, ledger=ledger, clock=clock)
        return
    if not hold.holds_money:
        await expire_order(order.order_id, store=store, ledger=ledger, clock=clock)
        return
    async with store.transaction() as rows:
        current = await rows.orders.find(order.order_id) or order
        if current.state is OrderState.PENDING:
            current = await accept_hold(rows, current, hold, clock.now(), by=RECONCILER)
    if current.state is OrderState.RESERVED:
        await _finish_reserved(current, store=store, ledger=ledger, clock=clock)


async def _finish_reserved(order: Order, *, store: Store, ledger: Ledger, clock: Clock) -> None:
    """Manual capture waits for its confirmation until it expires; automatic capture needs nobody."""
    if order.capture is CaptureMode.MANUAL:
        if clock.now() >= order.expires_at:
            await expire_order(order.order_id, store=store, ledger=ledger, clock=clock)
        return
    try:
        hold = await ledger.commit_hold(order)
    except RefusedError:
        await expire_order(order.order_id, store=store, ledger=ledger, clock=clock)
        return
    async with store.transaction() as rows:
        current = await rows.orders.find(order.order_id) or order
        if current.state is OrderState.RESERVED:
            await confirm_in(rows, current, hold, clock, by=RECONCILER)


async def _settle_by_hold(order: Order, *, store: Store, ledger: Ledger, clock: Clock) -> None:
    """The ledger's event is late, or was lost: see whether the hold was captured, or can't be any more.

    An order moves before its hold is voided, so that one that is CONFIRMED by then was restored to an earlier moment.
    """
    hold = await ledger.find_hold(order.order_id)
    if hold is None or hold.holds_money:
        return
    async with store.transaction() as rows:
        if hold.captured_minor:
            await settle_order(hold, rows=rows, now=clock.now(), by=RECONCILER)
        else:
            rejection = Rejection(reason="hold_closed", message=f"The hold is {hold.state.value}.")
            await fail_settlement(hold.hold_id, rejection, rows=rows, now=clock.now(), by=RECONCILER)


async def _free_money(order: Order, *, store: Store, ledger: Ledger) -> None:
    """The capture was refused for good: the hold is of no use any more."""
    hold = await release_hold(order, ledger=ledger)
    if hold.captured_minor:
        logger.error("captured_after_refusal", order_id=str(order.order_id), captured_minor=hold.captured_minor)
    async with store.transaction() as rows:
        await rows.orders.rest(order.order_id)
