"""Finish an undoing that is written down: the ledger's answer says what it comes to.

Voided (or never held): CANCELLED or EXPIRED, and the stock is back. Captured before the void came: everything that was
captured of a cancelled order is refunded. Partly: both. An order that was to expire and is captured was confirmed, and
that was forgotten here: nobody wants out, and it is SETTLED. The ledger is asked with keys that follow from the order,
so asking again is safe, and whoever comes second finds the work done.
"""

from uuid import UUID

from services.money import Money
from services.orders.domain.actor import Actor
from services.orders.domain.hold import Hold
from services.orders.domain.order import Order, Rejection
from services.orders.domain.order_state import OrderState
from services.orders.domain.refund import Refund, RefundState, everything_left, plan_refund
from services.orders.ports import Ledger, Rows, Store
from services.runtime.clock import Clock
from services.runtime.errors import (
    InvalidArgumentError,
    NotFoundError,
    RefusedError,
    RejectedError,
    UnavailableError,
)
from services.runtime.ids import new_id

RELEASING = frozenset({OrderState.CANCELLING, OrderState.EXPIRING})
"""The intents whose hold is to be voided."""


async def undo_order(order_id: UUID, *, store: Store, ledger: Ledger, clock: Clock, by: str) -> Order:
    """Finish what CANCELLING, EXPIRING or REFUNDING began; an order in another state is returned as it is.

    The history names `by` as who did it. A refund that the ledger refuses leaves the order where it was before, and the
    refund REFUSED with the reason.

    Raises:
        UnavailableError: The ledger is away; the intent stays.
    """
    order = await _current(order_id, store=store)
    if order.state in RELEASING:
        hold = await release_hold(order, ledger=ledger)
        order = await _end_release(order, hold, store=store, clock=clock, by=by)
    if order.state is OrderState.REFUNDING:
        order = await _end_refund(order, store=store, ledger=ledger, clock=clock, by=by)
    return order


async def release_hold(order: Order, *, ledger: Ledger) -> Hold:
    """Void what remains of the order's hold, and tell what the hold came to: the ledger arbitrates."""
    try:
        return await ledger.void_hold(order.order_id, buyer_id=order.buyer_id)
    except RefusedError as refusal:
        if refusal.reason != "hold_captured":
            raise
    hold = await ledger.find_hold(order.order_id)
    if hold is None:
        raise UnavailableError("The ledger knows a captured hold and doesn't show it.")
    return hold


async def begin_full_refund(rows: Rows, order: Order, *, requested_by: UUID) -> None:
    """Write down, for a REFUNDING order, that everything left of what was captured goes back."""
    refund = plan_refund(
        order,
        everything_left(order),
        refund_id=new_id(),
        requested_by=requested_by,
        now=order.updated_at,
    )
    await rows.refunds.add(refund)


async def refusal_of_last_refund(order: Order, rows: Rows, *, actor: Actor) -> RefusedError | None:
    """Tell somebody why the last try to give all of the money back failed, if it did."""
    refund = await rows.refunds.newest_refused(order.order_id)
    return refusal_of(refund, actor=actor) if refund is not None else None


def refusal_of(refund: Refund, *, actor: Actor) -> RefusedError | None:
    """Tell somebody why a refund was refused, if it was."""
    rejection = actor.rejection_seen(refund)
    if refund.state is not RefundState.REFUSED or rejection is None:
        return None
    return RefusedError(rejection.message, reason=rejection.reason)


async def _current(order_id: UUID, *, store: Store) -> Order:
    async with store.transaction() as rows:
        order = await rows.orders.find(order_id)
    if order is None:
        raise NotFoundError("There is no such order.", reason="order_not_found")
    return order


async def _end_release(order: Order, hold: Hold, *, store: Store, clock: Clock, by: str) -> Order:
    async with store.transaction() as rows:
        current = await rows.orders.find(order.order_id) or order
        if current.state not in RELEASING:
            return current
        now, captured = clock.now(), Money(hold.captured_minor, current.total.currency)
        if not hold.captured_minor:
            await rows.products.move_stock(current.stock_set_aside())
            current = current.release(now)
        elif current.state is OrderState.EXPIRING:
            # A capture follows a confirmation only: this database was restored to a moment before it.
            current = current.settle(captured, now)
        else:
            current = current.begin_refunding(now, captured=captured)
            await begin_full_refund(rows, current, requested_by=current.buyer_id)
        await rows.orders.save(current, by=by, journal_sequence=hold.journal_sequence)
        return current


async def _end_refund(order: Order, *, store: Store, ledger: Ledger, clock: Clock, by: str) -> Order:
    async with store.transaction() as rows:
        order = await rows.orders.find(order.order_id) or order
        if order.state is not OrderState.REFUNDING:
            return order
        refund = await _pending_refund(rows, order)
    try:
        hold = await ledger.refund_capture(order, refund)
    except (RefusedError, InvalidArgumentError, NotFoundError) as no:
        return await _refund_refused(order, refund, no, store=store, clock=clock, by=by)
    async with store.transaction() as rows:
        current = await rows.orders.find(order.order_id) or order
        if not await _still_pending(rows, current, refund):
            return current
        now = clock.now()
        stock = {
            line.sku: refund.quantities[line.line_number]
            for line in current.lines
            if line.stock_tracked and refund.quantities.get(line.line_number)
        }
        current = current.finish_refunding(refund.quantities, refund.amounts_minor, now)
        await rows.refunds.save(refund.finish(now))
        await rows.products.move_stock(stock)
        await rows.orders.save(current, by=by, journal_sequence=hold.journal_sequence)
        return current


async def _refund_refused(
    order: Order, refund: Refund, no: RejectedError, *, store: Store, clock: Clock, by: str
) -> Order:
    async with store.transaction() as rows:
        current = await rows.orders.find(order.order_id) or order
        if not await _still_pending(rows, current, refund):
            return current
        now = clock.now()
        await rows.refunds.save(refund.refuse(Rejection(reason=no.reason, message=no.message), now))
        current = current.give_up_refunding(no.reason, now)
        await rows.orders.save(current, by=by)
        return current


async def _pending_refund(rows: Rows, order: Order) -> Refund:
    refund = await rows.refunds.pending(order.order_id)
    if refund is None:
        raise NotFoundError("The order waits for a refund that isn't there.", reason="refund_not_found")
    return refund


async def _still_pending(rows: Rows, order: Order, refund: Refund) -> bool:
    current = await rows.refunds.find(refund.refund_id)
    return order.state is OrderState.REFUNDING and current is not None and current.state is RefundState.PENDING
