"""How much housekeeping does at once: bounded in rows, and in the time for which others may have to wait for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

ROWS_MIN = 16
"""The smallest step: below it the statements' own cost is all there is."""


class StepSize:
    """Halves after a step that took too long, and doubles again after quick ones."""

    def __init__(self, *, rows_max: int, seconds_max: float) -> None:
        """Begin small, and stay within `rows_max`; a step should take `seconds_max` at most."""
        self._rows_max = rows_max
        self._seconds_max = seconds_max
        self.rows = min(ROWS_MIN, rows_max)

    @contextmanager
    def step(self) -> Iterator[int]:
        """Take a step of the yielded number of rows, and learn from the time it took."""
        loop = asyncio.get_running_loop()
        began_at_seconds = loop.time()
        yield self.rows
        seconds = loop.time() - began_at_seconds
        if seconds > self._seconds_max:
            self.rows = max(self.rows // 2, min(ROWS_MIN, self._rows_max))
        elif seconds < self._seconds_max / 2:
            self.rows = min(self.rows * 2, self._rows_max)
