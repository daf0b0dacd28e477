"""Several things at once in an order that a seed decides, and a process that dies among them.

Each transaction and each call on the ledger waits at a gate, one is let through at a time, and the next one only when
all others wait or are done: the same seed is the same story.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from services.orders.domain.hold import Hold
from services.orders.domain.order import Order
from services.orders.domain.refund import Refund
from services.orders.ports import Ledger, Rows, Store
from services.orders.use_cases.once import Answer
from services.orders.use_cases.placing import PlaceOrder, Placing
from services.runtime.errors import TradeFlowError

T = TypeVar("T")

TURN_SECONDS_MAX = 30.0
"""How long one step may take on a machine that is busy with others."""

TOGETHER = frozenset({"reserve_funds", "reserved"})
"""Where several may be let through at once: the ledger's client gathers calls, so their answers come together."""

TOGETHER_SHARE = 0.8
"""How many of those who wait at such a gate go with the first."""

TURNS_TO_GATHER = 4
"""How many turns of the event loop pass from the first who asks until what was gathered stands at its gate."""


class _Teller:
    """Whoever tells a story, with all that it waits for; or a batch that several stories wait for."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """Who waits where."""

    name: str
    teller: _Teller
    turn: "asyncio.Future[None]"


_teller: ContextVar[_Teller] = ContextVar("teller")
"""Tasks that a story starts tell the same story; what was gathered belongs to none."""


class Gates:
    """Where the tasks of one process wait for their turn."""

    def __init__(self, random: Random, *, dies_at: int | None = None) -> None:
        """Let tasks through in a random order; at the `dies_at`-th turn nobody ever gets through again."""
        self._random = random
        self._dies_at = dies_at
        self._waiting: list[_Waiting] = []
        self._idle = asyncio.Event()
        self._busy: set[_Teller] = set()
        self._stories: list[asyncio.Task[None]] = []
        self._batches: set[asyncio.Task[Any]] = set()
        self.passed: list[str] = []

    async def pass_gate(self, name: str) -> None:
        """Wait for one's turn."""
        teller = self._known_teller()
        waiting = _Waiting(name, teller, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._rest(teller)
        try:
            await waiting.turn
        finally:
            self._work(teller)  # those who are cut off, too: they clean up

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Wait for a batch, which has turns of its own."""
        teller = self._known_teller()
        self._rest(teller)
        try:
            yield
        finally:
            self._work(teller)

    def cut_off(self, number: int) -> None:
        """End one of the stories where it is, as one does whose caller leaves."""
        self._stories[number].cancel()

    async def run(self, stories: Sequence[Awaitable[Any]]) -> bool:
        """Run stories until all have ended; False when the process died before that."""
        self._stories = [asyncio.create_task(self._tell(_Teller(), story)) for story in stories]
        try:
            while True:
                await self._all_rest()
                self._waiting = [waiting for waiting in self._waiting if not waiting.turn.done()]
                if not self._waiting:
                    await self._all_told()
                    return True
                if self._dies_at is not None and len(self.passed) >= self._dies_at:
                    return False
                self._let_some_through()
        finally:
            await self._end()

    async def _all_told(self) -> None:
        """Wait until all have ended, and raise what none of them may end in; who was cut off may."""
        await asyncio.wait(self._stories)
        for story in self._stories:
            if not story.cancelled():
                story.result()

    async def _all_rest(self) -> None:
        while True:
            async with asyncio.timeout(TURN_SECONDS_MAX):
                await self._idle.wait()
            for _ in range(TURNS_TO_GATHER):
                await asyncio.sleep(0)
            if self._idle.is_set():
                return

    def _let_some_through(self) -> None:
        first = self._random.choice(self._waiting)
        through = [first, *self._that_come_with(first)]
        for waiting in through:
            self._waiting.remove(waiting)
            self.passed.append(waiting.name)
            self._work(waiting.teller)
            waiting.turn.set_result(None)

    def _that_come_with(self, first: _Waiting) -> list[_Waiting]:
        if first.name not in TOGETHER:
            return []
        others = [one for one in self._waiting if one.name == first.name and one is not first]
        return [one for one in others if self._random.random() < TOGETHER_SHARE]

    async def _tell(self, teller: _Teller, story: Awaitable[Any]) -> None:
        """Tell one story; a refusal is how some end."""
        _teller.set(teller)
        self._work(teller)
        try:
            await story
        except TradeFlowError as error:
            self.passed.append(error.reason)
        finally:
            self._rest(teller)

    def _known_teller(self) -> _Teller:
        """Tell who waits; a batch is known from its first gate on."""
        teller = _teller.get(None)
        if teller is None:
            teller = _Teller()
            _teller.set(teller)
            batch = asyncio.current_task()
            assert batch is not None
            self._batches.add(batch)
            batch.add_done_callback(lambda _: self._rest(teller))
        return teller

    def _work(self, teller: _Teller) -> None:
        self._busy.add(teller)
        self._idle.clear()

    def _rest(self, teller: _Teller) -> None:
        self._busy.discard(teller)
        if not self._busy:
            self._idle.set()

    async def _end(self) -> None:
        """End what still runs, and wait for it."""
        tasks = [*self._stories, *self._batches]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class GatedStore:
    """A store whose transactions wait before they begin and after they ended."""

    def __init__(self, store: Store, gates: Gates) -> None:
        """Pass transactions on."""
        self._store = store
        self._gates = gates

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        await self._gates.pass_gate("transaction")
        async with self._store.transaction() as rows:
            yield rows
        await self._gates.pass_gate("committed")


class GatedPlacing:
    """Placing whose callers wait for their batch; its transactions are those of a `GatedStore`."""

    def __init__(self, placing: Placing, gates: Gates) -> None:
        """Pass placements on."""
        self._placing = placing
        self._gates = gates

    async def begin(self, wanted: PlaceOrder, *, holder: UUID) -> Answer:
        with self._gates.aside():
            return await self._placing.begin(wanted, holder=holder)

    async def go_on(self, wanted: PlaceOrder, order: Order, hold: Hold) -> Answer:
        with self._gates.aside():
            return await self._placing.go_on(wanted, order, hold)


class GatedLedger:
    """A ledger whose calls wait before they take effect and before their answers come."""

    def __init__(self, ledger: Ledger, gates: Gates) -> None:
        """Pass calls on."""
        self._ledger = ledger
        self._gates = gates

    def check_there(self) -> None:
        self._ledger.check_there()

    async def reserve_funds(self, order: Order, *, buyer_token: str, expires_at: datetime) -> Hold:
        await self._gates.pass_gate("reserve_funds")
        return await self._answer(
            self._ledger.reserve_funds(order, buyer_token=buyer_token, expires_at=expires_at), "reserved"
        )

    async def commit_hold(self, order: Order) -> Hold:
        await self._gates.pass_gate("commit_hold")
        return await self._answer(self._ledger.commit_hold(order), "hold committed")

    async def void_hold(self, order_id: UUID, *, buyer_id: UUID) -> Hold:
        await self._gates.pass_gate("void_hold")
        return await self._answer(self._ledger.void_hold(order_id, buyer_id=buyer_id), "voided")

    async def refund_capture(self, order: Order, refund: Refund) -> Hold:
        await self._gates.pass_gate("refund_capture")
        return await self._answer(self._ledger.refund_capture(order, refund), "refunded")

    async def find_hold(self, order_id: UUID) -> Hold | None:
        await self._gates.pass_gate("find_hold")
        return await self._answer(self._ledger.find_hold(order_id), "found")

    async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
        await self._gates.pass_gate("find_holds")
        return await self._answer(self._ledger.find_holds(order_ids), "found many")

    async def _answer(self, call: Awaitable[T], name: str) -> T:
        try:
            return await call
        finally:
            await self._gates.pass_gate(name)
