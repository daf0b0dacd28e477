"""A copy of a database of orders that is made at a chosen point of a story, and put in its place later."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.crashes import Fuse, MortalLedger, MortalStore
from tests.support.orders_world import OrdersWorld


class CopyingFuse(Fuse):
    """Copies a world's database, of a SQLite file, at the point at which a `Fuse` dies."""

    def __init__(self, world: OrdersWorld, folder: Path, *, copies_at: int) -> None:
        """Watch the points of a world in this folder."""
        super().__init__()
        self._copies_at = copies_at
        self._world = world
        self._file, self._copy = folder / "orders.db", folder / "copy.db"
        world.store, world.ledger = MortalStore(world.real_store, self), MortalLedger(world.bank, self)

    @property
    def has_copied(self) -> bool:
        """Tell whether the story came so far."""
        return len(self.passed) > self._copies_at

    def pass_point(self, name: str) -> None:
        if len(self.passed) == self._copies_at:
            _copy(self._file, self._copy)
        super().pass_point(name)

    def restore(self) -> None:
        """Let everything in the database be as it was then; the ledger isn't."""
        _copy(self._copy, self._file)
        self._world.store, self._world.ledger = self._world.real_store, self._world.bank


def _copy(source_file: Path, target_file: Path) -> None:
    with closing(sqlite3.connect(source_file)) as source, closing(sqlite3.connect(target_file)) as target:
        source.backup(target)
