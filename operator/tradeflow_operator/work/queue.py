"""The work queue: each resource at most once, the most urgent first, and none worked on twice at a time.

It holds keys, never bodies, so a hundred changes of one resource are one entry. Bounded: resyncs are turned away when
it is full (they come again), changes never are: there can't be more of them than there are resources.
"""

import asyncio
import heapq
from collections import OrderedDict
from enum import IntEnum

from tradeflow_operator.resources import ObjectKey

TURNED_AWAY_SECONDS = 60.0
"""When a resync that found the queue full comes again."""


class Priority(IntEnum):
    """What goes first; a retry has the priority of a resync, so that failing resources can't hold up new ones."""

    CHANGED = 0
    """New, changed, forced or being deleted."""

    WOKEN = 1
    """Something that it refers to changed."""

    RESYNC = 2
    """Looked at again after a while, after a failure, or after a start."""


class WorkQueue:
    """Keys to be worked on. Used from one event loop."""

    def __init__(self, *, resyncs_max: int = 20_000) -> None:
        """Begin empty.

        Args:
            resyncs_max: How many entries of the lowest priority may wait.
        """
        self._resyncs_max = resyncs_max
        self._ready: dict[Priority, OrderedDict[ObjectKey, None]] = {priority: OrderedDict() for priority in Priority}
        self._taken: dict[ObjectKey, Priority | None] = {}
        self._timers: list[tuple[float, int, ObjectKey]] = []
        self._due: dict[ObjectKey, tuple[float, int, Priority]] = {}
        self._numbers = 0
        self._wake = asyncio.Event()

    def add(self, key: ObjectKey, priority: Priority) -> bool:
        """Let a key be worked on soon; False when a resync was turned away."""
        self._due.pop(key, None)
        if key in self._taken:
            before = self._taken[key]
            self._taken[key] = priority if before is None else min(before, priority)
            return True
        if not self._make_urgent(key, priority):
            return False
        self._wake.set()
        return True

    def add_later(self, key: ObjectKey, seconds: float, priority: Priority = Priority.RESYNC) -> None:
        """Let a key be worked on after a while, unless it is sooner anyway; replaces an earlier such wish."""
        self._numbers += 1
        due_at = asyncio.get_running_loop().time() + seconds
        self._due[key] = (due_at, self._numbers, priority)
        heapq.heappush(self._timers, (due_at, self._numbers, key))
        self._wake.set()

    async def take(self) -> ObjectKey:
        """Wait for the most urgent key; the caller has to call `done` with it."""
        while True:
            self._ripen()
            for waiting in self._ready.values():
                if waiting:
                    key, _ = waiting.popitem(last=False)
                    self._taken[key] = None
                    return key
            await self._wait()

    def done(self, key: ObjectKey) -> None:
        """Give a key back; if it was added meanwhile, it waits again."""
        again = self._taken.pop(key)
        if again is not None:
            self.add(key, again)

    def forget(self, key: ObjectKey) -> None:
        """Drop all wishes for a key; who works on it finishes."""
        self._due.pop(key, None)
        for waiting in self._ready.values():
            waiting.pop(key, None)
        if key in self._taken:
            self._taken[key] = None

    def depth(self, priority: Priority) -> int:
        """Count what waits."""
        return len(self._ready[priority])

    def __len__(self) -> int:
        return sum(map(len, self._ready.values()))

    def _make_urgent(self, key: ObjectKey, priority: Priority) -> bool:
        for at_least, waiting in self._ready.items():
            if key in waiting:
                if at_least <= priority:
                    return True
                del waiting[key]
        if priority is Priority.RESYNC and len(self._ready[priority]) >= self._resyncs_max:
            return False
        self._ready[priority][key] = None
        return True

    def _ripen(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._timers and self._timers[0][0] <= now:
            due_at, number, key = heapq.heappop(self._timers)
            due = self._due.get(key)
            if due is None or due[:2] != (due_at, number):
                continue  # replaced, or the key was added or forgotten since
            del self._due[key]
            if not self.add(key, due[2]):
                self.add_later(key, TURNED_AWAY_SECONDS)

    async def _wait(self) -> None:
        self._wake.clear()
        loop = asyncio.get_running_loop()
        seconds = max(0.0, self._timers[0][0] - loop.time()) if self._timers else None
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
