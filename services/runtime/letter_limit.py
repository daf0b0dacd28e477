"""How many dead letters are still bad luck: past it, it is the handler, and putting more aside would hide that."""

from collections import deque
from datetime import datetime, timedelta

from services.runtime.clock import Clock


class LetterLimit:
    """Counts what was put aside within the last so many seconds; what is older is forgotten."""

    def __init__(self, *, letters_max: int, span_seconds: float, clock: Clock) -> None:
        """Count nothing yet."""
        self._letters_max = letters_max
        self._span = timedelta(seconds=span_seconds)
        self._clock = clock
        self._put_aside_at: deque[datetime] = deque()

    @property
    def reached(self) -> bool:
        """Tell whether nothing more may be put aside now."""
        begins_at = self._clock.now() - self._span
        while self._put_aside_at and self._put_aside_at[0] <= begins_at:
            self._put_aside_at.popleft()
        return len(self._put_aside_at) >= self._letters_max

    def note(self) -> None:
        """Count one that was put aside now."""
        self._put_aside_at.append(self._clock.now())
