"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""Where virtual time begins unless a test says otherwise."""

TURNS_AFTER_WAKING = 20
"""How many turns of the event loop a woken sleeper gets before time moves on: enough for pure code, and code that waits
for a disk is waited for by the test's own poll."""


class VirtualClock:
    """Fits the Clock port; `advance` wakes the sleepers in the order they asked for."""

    def __init__(self, start: datetime = START) -> None:
        """Begin at `start`."""
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Tell the instant that the test has reached."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has moved time by so much; nothing and less give up only one turn."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move time on, stopping at each sleeper's instant to let it run."""
        end = self._now + timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= end:
            wakes_at, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now = max(self._now, wakes_at)
            woken.set_result(None)
            await _let_others_run()
        self._now = end
        await _let_others_run()

    @property
    def sleepers(self) -> int:
        """Tell how many tasks wait for time to pass."""
        return sum(not woken.done() for _, _, woken in self._sleepers)


async def _let_others_run() -> None:
    for _ in range(TURNS_AFTER_WAKING):
        await asyncio.sleep(0)
