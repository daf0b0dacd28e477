"""Many concurrent calls as few: what is asked in one turn of the event loop goes together.

A remote call costs about the same for one item as for a hundred. So callers ask for one item each, and what they ask in
the same turn, or while as many calls as may be are under way, is sent as one call, in the order of asking.

    ask → waiting (bounded) → a call of at most `items_max`, at most `calls_max` at once → each its own answer
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, Generic, TypeVar

import structlog

from services.runtime.errors import TradeFlowError, UnavailableError

logger = structlog.get_logger(__name__)

ITEMS_MAX = 1024
"""The most items of one call."""

CALLS_MAX = 4
"""The most calls at once: one is being answered while others are on their way."""

WAITING_MAX = 4096
"""The most items that wait or are under way; past it callers are told to come back."""

RETRY_AFTER_SECONDS = 0.5
"""The hint for those who found it full: by then some calls have been answered."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Together = Callable[[Sequence[Item], float], Awaitable[Sequence[Answer | Exception]]]
"""Sends items in one call, within so many seconds, and gives an answer or an error for each, in their order."""


class _Asked(Generic[Item, Answer]):
    """An item, until when its caller waits (on the loop's clock), and the promise of its answer."""

    __slots__ = ("deadline_at_seconds", "item", "promise")

    def __init__(self, item: Item, deadline_at_seconds: float, promise: "asyncio.Future[Answer]") -> None:
        self.item = item
        self.deadline_at_seconds = deadline_at_seconds
        self.promise = promise


class Gathering(Generic[Item, Answer]):
    """Gathers items into calls. Belongs to the event loop in which it is first asked."""

    def __init__(
        self,
        together: Together[Item, Answer],
        *,
        items_max: int = ITEMS_MAX,
        calls_max: int = CALLS_MAX,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        """Send by `together`; what it raises is raised for every item of that call.

        Args:
            together: Sends one call.
            items_max: The most items of one call.
            calls_max: The most calls at once.
            waiting_max: The most items that wait or are under way.
        """
        self._together = together
        self._items_max = items_max
        self._calls_max = calls_max
        self._waiting_max = waiting_max
        self._waiting: deque[_Asked[Item, Answer]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._unanswered = 0
        self._is_scheduled = False

    async def ask(self, item: Item, *, timeout_seconds: float) -> Answer:
        """Send one item together with what others ask, and wait for its own answer.

        An item whose caller leaves, or whose time is over before its call began, is not sent. One that was sent has its
        effect all the same, so effects need a key.

        Raises:
            UnavailableError: Too many wait (`too_many_waiting`), or the time was over (`deadline_exceeded`).
            TradeFlowError: What the item, or its whole call, was answered.
        """
        if self._unanswered >= self._waiting_max:
            raise UnavailableError(
                "Too many calls wait already.", reason="too_many_waiting", retry_after_seconds=RETRY_AFTER_SECONDS
            )
        loop = asyncio.get_running_loop()
        asked: _Asked[Item, Answer] = _Asked(item, loop.time() + timeout_seconds, loop.create_future())
        self._unanswered += 1
        self._waiting.append(asked)
        self._schedule(loop)
        try:
            async with asyncio.timeout_at(asked.deadline_at_seconds):
                return await asked.promise
        except TimeoutError as error:
            raise UnavailableError(
                "There was no answer in time; whether it had an effect isn't known.", reason="deadline_exceeded"
            ) from error
        finally:
            self._unanswered -= 1

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send in the next turn, so that all who ask in this one go together."""
        if not self._is_scheduled and len(self._calls) < self._calls_max:
            self._is_scheduled = True
            # Not in the context of whoever asked first: the call is everybody's, and belongs to no one's trace.
            loop.call_soon(self._send, context=Context())

    def _send(self) -> None:
        self._is_scheduled = False
        while len(self._calls) < self._calls_max:
            batch = self._next_batch()
            if not batch:
                return
            call = asyncio.create_task(self._answer(batch), name="gathered-call")
            self._calls.add(call)
            watch = _Watch(call, len(batch))
            for asked in batch:
                asked.promise.add_done_callback(watch.one_is_done)
            call.add_done_callback(self._ended)

    def _next_batch(self) -> list[_Asked[Item, Answer]]:
        """Take the oldest that somebody still waits for."""
        batch: list[_Asked[Item, Answer]] = []
        now_seconds = asyncio.get_running_loop().time()
        while self._waiting and len(batch) < self._items_max:
            asked = self._waiting.popleft()
            if not asked.promise.done() and now_seconds < asked.deadline_at_seconds:
                batch.append(asked)
        return batch

    async def _answer(self, batch: Sequence[_Asked[Item, Answer]]) -> None:
        seconds_left = max(asked.deadline_at_seconds for asked in batch) - asyncio.get_running_loop().time()
        try:
            answers = await self._together([asked.item for asked in batch], seconds_left)
            if len(answers) != len(batch):
                raise UnavailableError("The answers don't match what was asked.", reason="internal")  # noqa: TRY301 - as if it had been answered
        except Exception as error:  # the edge of a call: everybody who waits for it is told
            if not isinstance(error, TradeFlowError):
                logger.exception("gathered_call_failed", items=len(batch))
            for asked in batch:
                if not asked.promise.done():
                    asked.promise.set_exception(error)
            return
        for asked, answer in zip(batch, answers, strict=True):
            if asked.promise.done():
                continue
            if isinstance(answer, Exception):
                asked.promise.set_exception(answer)
            else:
                asked.promise.set_result(answer)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if self._waiting:
            self._schedule(call.get_loop())


class _Watch:
    """Cancels a call that nobody waits for any more."""

    __slots__ = ("_call", "_left")

    def __init__(self, call: asyncio.Task[None], count: int) -> None:
        self._call = call
        self._left = count

    def one_is_done(self, _promise: "asyncio.Future[Any]") -> None:
        self._left -= 1
        if not self._left:
            self._call.cancel()  # does nothing to a call that was answered
