"""Rests between pieces of work, for so long that the work is a small part of the time."""

import asyncio
import time

REST_SECONDS_MAX = 0.25
"""The longest rest: the journal's growth is followed in between."""


class Resting:
    """Rests whoever works piece by piece. Pieces should be of a millisecond or two, as long as a call may well wait."""

    def __init__(self, load_ratio: float) -> None:
        """Begin to work, for `load_ratio` of the time: with 0.05, nineteen parts of twenty are rests."""
        self._rest_of_work = 1 / load_ratio - 1
        self._resumed_at_seconds = time.monotonic()

    async def rest(self) -> None:
        """Rest from what was done since the last rest."""
        worked_seconds = time.monotonic() - self._resumed_at_seconds
        await asyncio.sleep(min(worked_seconds * self._rest_of_work, REST_SECONDS_MAX))
        self._resumed_at_seconds = time.monotonic()
