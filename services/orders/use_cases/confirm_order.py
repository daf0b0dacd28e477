"""Confirm an order with manual capture: the hold becomes permanent, then the ledger is told to pay the sellers.

The hold is committed first: an order that is CONFIRMED can always be captured.
"""

from dataclasses import dataclass
from functools import partial
from uuid import UUID

from services.orders.domain import mover
from services.orders.domain.actor import Actor
from services.orders.domain.hold import Hold
from services.orders.domain.order import Order
from services.orders.domain.order_state import IllegalTransitionError, OrderState, check_move
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
from services.runtime.clock import Clock
from services.runtime.errors import RefusedError
from services.runtime.ids import new_id

CONFIRMED_OR_LATER = frozenset(
    {
        OrderState.CONFIRMED,
        OrderState.SETTLED,
        OrderState.SETTLEMENT_FAILED,
        OrderState.REFUNDING,
        OrderState.PARTIALLY_REFUNDED,
        OrderState.REFUNDED,
    }
)
"""Where an order may be when two confirm it at the same time and the other one was quicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmOrder:
    """Who confirms which order."""

    actor: Actor
    order_id: UUID
    idempotency_key: str

    @property
    def request(self) -> RequestKey:
        """The key and what it stands for."""
        return request_for_order(
            Operation.CONFIRM, user_id=self.actor.user_id, key=self.idempotency_key, order_id=self.order_id
        )


async def confirm_order(wanted: ConfirmOrder, *, store: Store, ledger: Ledger, clock: Clock, terms: Terms) -> Answer:
    """Confirm a RESERVED order.

    Raises:
        NotFoundError: `order_not_found`: absent, or somebody else's.
        ForbiddenError: Neither its buyer nor a seller of it.
        RefusedError: `illegal_transition`: it isn't RESERVED; `hold_expired`, `hold_closed`: the money is free again.
        ConflictError: `order_busy`, `request_in_flight`; `idempotency_key_reused`.
        UnavailableError: The ledger is away; the same key goes on.
    """
    holder = new_id()
    begun = await surely_begun(partial(_begin, wanted, holder=holder, store=store, clock=clock, terms=terms))
    if begun.replayed:
        return begun
    async with lease_given_back(wanted.request, holder=holder, store=store, clock=clock):
        try:
            hold = await ledger.commit_hold(begun.order)
        except RefusedError as refusal:
            async with store.transaction() as rows:
                await refuse(rows, wanted.request, refusal)
            raise
        return await _confirm(wanted, hold, store=store, clock=clock)


async def _begin(wanted: ConfirmOrder, *, holder: UUID, store: Store, clock: Clock, terms: Terms) -> Answer:
    async with store.transaction() as rows:
        order = wanted.actor.see(await rows.orders.find(wanted.order_id))
        wanted.actor.check_confirms(order)
        earlier = await claim(
            rows, wanted.request, holder=holder, order_id=order.order_id, now=clock.now(), terms=terms
        )
        if earlier is not None and earlier.state is KeyState.DONE:
            return Answer(order=order, replayed=True)
        outcome = await kept(rows, wanted.request, _check(order))
    return Answer(order=unless_refused(outcome))


async def _check(order: Order) -> Order:
    check_not_busy(order)
    check_move(order.state, OrderState.CONFIRMED)
    return order


async def _confirm(wanted: ConfirmOrder, hold: Hold, *, store: Store, clock: Clock) -> Answer:
    """The hold is permanent: confirm, unless somebody cancelled or the time ran out meanwhile."""
    async with store.transaction() as rows:
        order = wanted.actor.see(await rows.orders.find(wanted.order_id))
        outcome = await kept(rows, wanted.request, _confirm_in(rows, wanted, order, hold, clock))
    return Answer(order=unless_refused(outcome))


async def _confirm_in(rows: Rows, wanted: ConfirmOrder, order: Order, hold: Hold, clock: Clock) -> Order:
    if order.state is OrderState.RESERVED:
        order = await confirm_in(rows, order, hold, clock, by=mover.user(wanted.actor.user_id))
    elif order.state not in CONFIRMED_OR_LATER:
        raise IllegalTransitionError(
            f"The order was undone meanwhile. {order.state.sentence}", details={"state": order.state.value}
        )
    await rows.keys.finish(wanted.request)
    return order


async def confirm_in(rows: Rows, order: Order, hold: Hold, clock: Clock, *, by: str) -> Order:
    """Confirm an order whose hold is permanent, and tell the ledger to capture it."""
    now = clock.now()
    order = order.confirm(now)
    await rows.orders.save(order, by=by, journal_sequence=hold.journal_sequence)
    rows.events.order_confirmed(order, now)
    return order
