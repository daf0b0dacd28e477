"""The fence: no write starts after the lease's deadline, and none may last beyond it.

Kafka and the registry know no fencing tokens, so the bound is time: whoever leads may write until the deadline that it
last wrote into the lease, less a margin, by a clock that goes on while the process is stopped.
"""

import time
from collections.abc import Callable

from tradeflow_operator.errors import NotLeaderError

MARGIN_SECONDS = 1.0
"""What is left of a lease in which no write starts: a write's own time, and clocks that go at different speeds."""


class Fence:
    """Until when this process may write."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin closed."""
        self._clock = clock
        self._deadline: float | None = None

    def open_until(self, deadline: float) -> None:
        """Let writes start until a reading of the clock."""
        self._deadline = deadline

    def close(self) -> None:
        """Let no write start."""
        self._deadline = None

    @property
    def is_open(self) -> bool:
        """Whether a write may start now."""
        return self.seconds_left() > 0

    def seconds_left(self) -> float:
        """Tell how long a write that starts now may last; zero when none may start."""
        if self._deadline is None:
            return 0.0
        return max(0.0, self._deadline - MARGIN_SECONDS - self._clock())

    def write_seconds(self, wanted_seconds: float) -> float:
        """Give a write its timeout; call it right before the write starts.

        Raises:
            NotLeaderError: None may start.
        """
        left = self.seconds_left()
        if left <= 0:
            raise NotLeaderError
        return min(wanted_seconds, left)


def open_fence() -> Fence:
    """Make a fence for a process that is alone by other means: tests, and commands that a person runs."""
    fence = Fence()
    fence.open_until(float("inf"))
    return fence
