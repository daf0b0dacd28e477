"""Place orders of many buyers in common transactions: one commit for all that come at the same time.

While one batch commits, the next one gathers. A batch is decided in memory, in the order in which its requests came,
each seeing the stock that the ones before it took; so one buyer's refusal touches nobody else. What can't be decided
together (a key that was used before, a deadlock, a lost COMMIT, a row that can't be written) is found by halving the
batch, and ends in a transaction of its own. So does a long order, in a queue of its own: everybody in a batch waits for
all of its lines.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

import structlog

from services.orders.domain import mover
from services.orders.domain.hold import Hold
from services.orders.domain.order import Order
from services.orders.domain.order_state import OrderState
from services.orders.domain.request_key import KeyRecord, KeyState
from services.orders.domain.terms import Terms
from services.orders.ports import Store
from services.orders.use_cases.once import OUTCOME_UNKNOWN, Answer
from services.orders.use_cases.placing import PlaceOrder, PlacingAlone, accept_hold, new_order
from services.runtime.clock import Clock
from services.runtime.errors import RefusedError, TradeFlowError, UnavailableError
from services.runtime.gathering import Gathering
from services.runtime.ids import new_id
from services.runtime.tracing import current_traceparent, within_step

BATCHES_MAX: Final = 2
"""Transactions of each step at once: one is decided while the other one commits."""

LINES_TOGETHER_MAX: Final = 50
"""Lines of an order that shares a transaction: with those of a whole batch it is written within a second."""

ANSWER_SECONDS_MAX: Final = 20.0
"""How long a request waits for its batch: less than its key's lease, more than any transaction takes."""

Item = TypeVar("Item")
Outcomes = Sequence[Answer | Exception]

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """An order to begin, and which request asks."""

    wanted: PlaceOrder
    holder: UUID


@dataclass(frozen=True, slots=True)
class _Held:
    """An order whose money is held, whose request it was, and in which trace."""

    wanted: PlaceOrder
    order: Order
    hold: Hold
    traceparent: str


class PlacingTogether:
    """Fits `Placing`."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        terms: Terms,
        together_max: int,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> None:
        """Gather the requests of one event loop, up to `together_max` in a transaction."""
        self._store = store
        self._clock = clock
        self._terms = terms
        self._answer_seconds_max = answer_seconds_max
        self._alone = PlacingAlone(store=store, clock=clock, terms=terms)
        self._beginning, self._beginning_long = (
            Gathering[_Asked, Answer](self._begin_all, items_max=items_max, calls_max=BATCHES_MAX)
            for items_max in (together_max, 1)
        )
        self._going_on, self._going_on_long = (
            Gathering[_Held, Answer](self._go_on_all, items_max=items_max, calls_max=BATCHES_MAX)
            for items_max in (together_max, 1)
        )

    async def begin(self, wanted: PlaceOrder, *, holder: UUID) -> Answer:
        """Write the key, the PENDING order and the stock, or find what an earlier request, or this one, wrote."""
        beginning = self._beginning_long if _is_long(wanted) else self._beginning
        return await beginning.ask(_Asked(wanted, holder), timeout_seconds=self._answer_seconds_max)

    async def go_on(self, wanted: PlaceOrder, order: Order, hold: Hold) -> Answer:
        """The money is held: move on, unless somebody cancelled or the time ran out meanwhile."""
        held = _Held(wanted, order, hold, current_traceparent())
        going_on = self._going_on_long if _is_long(wanted) else self._going_on
        return await going_on.ask(held, timeout_seconds=self._answer_seconds_max)

    async def _begin_all(self, batch: Sequence[_Asked], _seconds: float) -> Outcomes:
        return await _in_halves(batch, self._begin_together, self._begin_alone)

    async def _go_on_all(self, batch: Sequence[_Held], _seconds: float) -> Outcomes:
        return await _in_halves(batch, self._go_on_together, self._go_on_alone)

    async def _begin_together(self, batch: Sequence[_Asked]) -> Outcomes:
        outcomes: list[Answer | Exception] = []
        async with self._store.transaction() as rows:
            skus = {wish.sku for asked in batch for wish in asked.wanted.wishes}
            products = await rows.products.find_all(sorted(skus))
            now, taken = self._clock.now(), Counter[str]()
            for asked in batch:
                wanted, order_id = asked.wanted, new_id()
                try:
                    order, left = new_order(wanted, products, order_id=order_id, now=now, terms=self._terms)
                except RefusedError as refusal:
                    await rows.keys.add(self._record(asked, order_id, now, refusal=refusal))
                    outcomes.append(refusal)
                except TradeFlowError as error:
                    outcomes.append(error)
                else:
                    products.update(left)
                    taken.update(order.stock_set_aside())
                    await rows.keys.add(self._record(asked, order_id, now))
                    await rows.orders.add(order, by=mover.user(wanted.buyer_id))
                    outcomes.append(Answer(order=order))
            await rows.products.move_stock({sku: -quantity for sku, quantity in taken.items()})
        return outcomes

    async def _go_on_together(self, batch: Sequence[_Held]) -> Outcomes:
        answers: list[Answer | Exception] = []
        async with self._store.transaction() as rows:
            await rows.orders.lock([held.order.order_id for held in batch])
            now = self._clock.now()
            for held in batch:
                current = await rows.orders.find(held.order.order_id) or held.order
                if current.state is OrderState.PENDING:
                    with within_step(held.traceparent):
                        by = mover.user(held.wanted.buyer_id)
                        current = await accept_hold(rows, current, held.hold, now, by=by)
                await rows.keys.finish(held.wanted.request)
                answers.append(Answer(order=current))
        return answers

    async def _begin_alone(self, asked: _Asked) -> Answer:
        return await self._alone.begin(asked.wanted, holder=asked.holder)

    async def _go_on_alone(self, held: _Held) -> Answer:
        with within_step(held.traceparent):
            return await self._alone.go_on(held.wanted, held.order, held.hold)

    def _record(
        self, asked: _Asked, order_id: UUID, now: datetime, *, refusal: RefusedError | None = None
    ) -> KeyRecord:
        """Make the key's record; one that is refused at once is answered with it."""
        return KeyRecord(
            request=asked.wanted.request,
            state=KeyState.IN_FLIGHT if refusal is None else KeyState.REFUSED,
            order_id=order_id,
            refund_id=None,
            created_at=now,
            lease_expires_at=now + self._terms.request_lease,
            lease_holder=asked.holder,
            reason="" if refusal is None else refusal.reason,
            message="" if refusal is None else refusal.message,
            details={} if refusal is None else refusal.details,
        )


def _is_long(wanted: PlaceOrder) -> bool:
    return len(wanted.wishes) > LINES_TOGETHER_MAX


async def _in_halves(
    batch: Sequence[Item],
    together: Callable[[Sequence[Item]], Awaitable[Outcomes]],
    alone: Callable[[Item], Awaitable[Answer]],
) -> Outcomes:
    """Do a batch together; where one of it may be the trouble, do its halves, and in the end each one alone.

    What may have been committed is done again like the rest: each request's key and order tell whether it was. An error
    is told to those whose own transaction it ended, and to nobody else.
    """
    try:
        return await together(batch) if len(batch) > 1 else [await alone(batch[0])]
    except UnavailableError as error:
        if len(batch) == 1 or error.reason not in SURVIVED:
            return [error] * len(batch)
    except Exception as error:  # whatever one buyer's data did, its neighbours must not suffer
        if len(batch) == 1:
            if not isinstance(error, TradeFlowError):
                logger.exception("order_not_placed")
            return [error]
    middle = len(batch) // 2
    halves = [await _in_halves(half, together, alone) for half in (batch[:middle], batch[middle:])]
    return [outcome for half in halves for outcome in half]


SURVIVED: Final = frozenset({"database_busy", OUTCOME_UNKNOWN})
"""The ways in which a database can't go on that a batch's parts may survive: somebody else holds one of its rows, or a
connection was lost at COMMIT, and there are others."""
