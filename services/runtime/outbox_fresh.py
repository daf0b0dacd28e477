"""Packs that this process committed a moment ago: its relay need not ask the database for what it has in its hands."""

from collections import deque
from collections.abc import Iterable

from services.runtime.outbox_packs import Pack

FRESH_EVENTS_MAX = 4_096
"""How many events are kept, a few megabytes: what a relay that is behind by more reads from the database."""


class FreshPacks:
    """Keeps the newest packs of one stream."""

    def __init__(self, events_max: int = FRESH_EVENTS_MAX) -> None:
        """Keep none yet."""
        self._events_max = events_max
        self._events = 0
        self._packs: deque[Pack] = deque()

    def __len__(self) -> int:
        return len(self._packs)

    def add(self, packs: Iterable[Pack]) -> None:
        """Keep committed packs, in the order of their commits; the oldest go where there are too many."""
        for pack in packs:
            self._packs.append(pack)
            self._events += len(pack.events)
        while self._events > self._events_max:
            self._drop_oldest()

    def after(self, sequence: int, *, events_max: int) -> list[Pack]:
        """Give the packs right behind a number, up to `events_max` events; none where the next isn't here."""
        self.let_go(sequence)
        found: list[Pack] = []
        for pack in self._packs:
            if pack.first_sequence != sequence + 1 or (found and pack.sequence >= found[0].sequence + events_max):
                break
            found.append(pack)
            sequence = pack.sequence
        return found

    def let_go(self, sequence: int) -> None:
        """Forget what ends at a number or before it."""
        while self._packs and self._packs[0].sequence <= sequence:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._events -= len(self._packs.popleft().events)
