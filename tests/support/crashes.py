"""A process that dies at a chosen point: before or after a call's effect, before or after a commit."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from services.orders.domain.hold import Hold
from services.orders.domain.order import Order
from services.orders.domain.refund import Refund
from services.orders.ports import Ledger, Rows, Store

T = TypeVar("T")


class ProcessDied(BaseException):
    """Not an Exception: nothing in the code under test may catch it."""


class Fuse:
    """Counts the points that are passed and dies at one of them; without a point it only counts."""

    def __init__(self, dies_at: int | None = None) -> None:
        """Die at the `dies_at`-th point, counted from 0."""
        self.passed: list[str] = []
        self._dies_at = dies_at

    def pass_point(self, name: str) -> None:
        """Pass a point, or die there."""
        self.passed.append(name)
        if len(self.passed) - 1 == self._dies_at:
            raise ProcessDied(name)


class MortalStore:
    """A store whose transactions have two points: just before the commit, and just after it."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        """Pass transactions on."""
        self._store = store
        self._fuse = fuse

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        async with self._store.transaction() as rows:
            yield rows
            self._fuse.pass_point("before a commit")
        self._fuse.pass_point("after a commit")


class MortalLedger:
    """A ledger whose calls have two points: before their effect, and after it, when the answer is lost."""

    def __init__(self, ledger: Ledger, fuse: Fuse) -> None:
        """Pass calls on."""
        self._ledger = ledger
        self._fuse = fuse

    def check_there(self) -> None:
        self._ledger.check_there()

    async def reserve_funds(self, order: Order, *, buyer_token: str, expires_at: datetime) -> Hold:
        return await self._call(
            "reserve_funds", self._ledger.reserve_funds(order, buyer_token=buyer_token, expires_at=expires_at)
        )

    async def commit_hold(self, order: Order) -> Hold:
        return await self._call("commit_hold", self._ledger.commit_hold(order))

    async def void_hold(self, order_id: UUID, *, buyer_id: UUID) -> Hold:
        return await self._call("void_hold", self._ledger.void_hold(order_id, buyer_id=buyer_id))

    async def refund_capture(self, order: Order, refund: Refund) -> Hold:
        return await self._call("refund_capture", self._ledger.refund_capture(order, refund))

    async def find_hold(self, order_id: UUID) -> Hold | None:
        return await self._call("find_hold", self._ledger.find_hold(order_id))

    async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
        return await self._call("find_holds", self._ledger.find_holds(order_ids))

    async def _call(self, name: str, call: Awaitable[T]) -> T:
        try:
            self._fuse.pass_point(f"before {name}")
        except ProcessDied:
            call.close()  # type: ignore[attr-defined]  # the coroutine that never ran
            raise
        answer = await call
        self._fuse.pass_point(f"after {name}")
        return answer
