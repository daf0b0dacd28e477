"""Several things at once in an order that a seed decides, and a process that dies among them.

Each transaction and each call on the ledger waits at a gate, one is let through at a time, and the next one only when
all others wait or are done: the same seed is the same story.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from services.orders.domain.hold import Hold
from services.orders.domain.order import Order
from services.orders.domain.refund import Refund
from services.orders.ports import Ledger, Rows, Store
from services.runtime.errors import TradeFlowError

T = TypeVar("T")

TURN_SECONDS_MAX = 30.0
"""How long one step may take on a machine that is busy with others."""


class Gates:
    """Where the tasks of one process wait for their turn."""

    def __init__(self, random: Random, *, dies_at: int | None = None) -> None:
        """Let tasks through in a random order; at the `dies_at`-th turn nobody ever gets through again."""
        self._random = random
        self._dies_at = dies_at
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._idle = asyncio.Event()
        self._busy = 0
        self.passed: list[str] = []

    async def pass_gate(self, name: str) -> None:
        """Wait for one's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((name, turn))
        self._rest()
        await turn

    async def run(self, stories: Sequence[Awaitable[Any]]) -> bool:
        """Run stories until all have ended; False when the process died before that."""
        tasks = [asyncio.ensure_future(self._tell(story)) for story in stories]
        self._busy = len(tasks)
        try:
            while True:
                async with asyncio.timeout(TURN_SECONDS_MAX):
                    await self._idle.wait()
                if not self._waiting:
                    await asyncio.gather(*tasks)
                    return True
                if len(self.passed) == self._dies_at:
                    return False
                self._let_one_through()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _let_one_through(self) -> None:
        name, turn = self._waiting.pop(self._random.randrange(len(self._waiting)))
        self.passed.append(name)
        self._busy += 1
        self._idle.clear()
        turn.set_result(None)

    async def _tell(self, story: Awaitable[Any]) -> None:
        """Tell one story; a refusal is how some end."""
        try:
            await story
        except TradeFlowError as error:
            self.passed.append(error.reason)
        finally:
            self._rest()

    def _rest(self) -> None:
        self._busy -= 1
        if self._busy == 0:
            self._idle.set()


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

    async def void_hold(self, order: Order) -> Hold:
        await self._gates.pass_gate("void_hold")
        return await self._answer(self._ledger.void_hold(order), "voided")

    async def refund_capture(self, order: Order, refund: Refund) -> Hold:
        await self._gates.pass_gate("refund_capture")
        return await self._answer(self._ledger.refund_capture(order, refund), "refunded")

    async def find_hold(self, order_id: UUID) -> Hold | None:
        await self._gates.pass_gate("find_hold")
        return await self._answer(self._ledger.find_hold(order_id), "found")

    async def _answer(self, call: Awaitable[T], name: str) -> T:
        try:
            return await call
        finally:
            await self._gates.pass_gate(name)
