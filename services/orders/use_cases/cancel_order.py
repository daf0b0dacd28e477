"""Cancel an order: before the sellers are paid it frees the money, afterwards it refunds all of it.

CANCELLING is written before the ledger is asked; a settlement that is on its way at the same moment may win, and then
the order is refunded.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from services.orders.domain import mover
from services.orders.domain.actor import Actor
from services.orders.domain.order import Order
from services.orders.domain.order_state import REFUNDABLE
from services.orders.domain.request_key import KeyState, Operation, RequestKey, request_for_order
from services.orders.domain.terms import Terms
from services.orders.ports import Ledger, Rows, Store
from services.orders.use_cases.once import (
    Answer,
    check_not_busy,
    claim,
    kept,
    lease_given_back,
    refuse,
    surely_begun,
    unless_refused,
)
from services.orders.use_cases.undo_order import begin_full_refund, refusal_of_last_refund, undo_order
from services.runtime.clock import Clock
from services.runtime.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Who cancels which order."""

    actor: Actor
    order_id: UUID
    idempotency_key: str

    @property
    def request(self) -> RequestKey:
        """The key and what it stands for."""
        return request_for_order(
            Operation.CANCEL, user_id=self.actor.user_id, key=self.idempotency_key, order_id=self.order_id
        )


async def cancel_order(wanted: CancelOrder, *, store: Store, ledger: Ledger, clock: Clock, terms: Terms) -> Answer:
    """Cancel: the order ends CANCELLED, or REFUNDED where the sellers were paid already.

    Raises:
        NotFoundError: `order_not_found`: absent, or somebody else's.
        ForbiddenError: Not its buyer.
        RefusedError: `illegal_transition`: it is over already; or the ledger's reason for refusing the refund.
        ConflictError: `order_busy`, `request_in_flight`; `idempotency_key_reused`.
        UnavailableError: The ledger is away. The order stays CANCELLING, and the same key or the reconciler goes on.
    """
    holder = new_id()
    begun = await surely_begun(partial(_begin, wanted, holder=holder, store=store, clock=clock, terms=terms))
    if begun.replayed:
        return begun
    async with lease_given_back(wanted.request, holder=holder, store=store, clock=clock):
        await undo_order(wanted.order_id, store=store, ledger=ledger, clock=clock, by=mover.user(wanted.actor.user_id))
        return await _answer(wanted, store=store)


async def _begin(wanted: CancelOrder, *, holder: UUID, store: Store, clock: Clock, terms: Terms) -> Answer:
    async with store.transaction() as rows:
        order = wanted.actor.see(await rows.orders.find(wanted.order_id))
        wanted.actor.check_cancels(order)
        now = clock.now()
        earlier = await claim(rows, wanted.request, holder=holder, order_id=order.order_id, now=now, terms=terms)
        if earlier is not None:
            return Answer(order=order, replayed=earlier.state is KeyState.DONE)
        outcome = await kept(rows, wanted.request, _begin_undoing(rows, order, now))
    return Answer(order=unless_refused(outcome))


async def _begin_undoing(rows: Rows, order: Order, now: datetime) -> Order:
    check_not_busy(order)
    if order.state in REFUNDABLE:
        order = order.begin_refunding(now)
        await begin_full_refund(rows, order, requested_by=order.buyer_id)
    else:
        order = order.begin_cancelling(now)
    await rows.orders.save(order, by=mover.user(order.buyer_id))
    return order


async def _answer(wanted: CancelOrder, *, store: Store) -> Answer:
    """Answer what it came to; an order that is still paid for had its refund refused."""
    async with store.transaction() as rows:
        order = wanted.actor.see(await rows.orders.find(wanted.order_id))
        refusal = await refusal_of_last_refund(order, rows, actor=wanted.actor) if order.state in REFUNDABLE else None
        if refusal is None:
            await rows.keys.finish(wanted.request)
        else:
            await refuse(rows, wanted.request, refusal)
    return Answer(order=unless_refused(refusal or order))
