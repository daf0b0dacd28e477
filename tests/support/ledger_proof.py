"""Books on SQLite with a notary, for tests of what they prove."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.ledger.commands.command import Command
from services.ledger.committer.committer import committing
from services.ledger.proof.head_rows import public_keys
from services.ledger.proof.heads import PublicJwk, SignedHead
from services.ledger.proof.key_folder import ensure_signing_keys
from services.ledger.proof.notary import Notary
from services.ledger.proof.statement import StatementMaker
from services.ledger.queries.book import Book
from services.ledger.wiring import MIGRATIONS
from services.money import Money
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Database
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import TradeFlowError
from tests.support import ledger_commands as a
from tests.support.clock import VirtualClock
from tests.support.ledger_commands import OTHER_SELLER, SELLER

BATCH_COMMANDS_MAX = 500
"""How many commands the support commits at once."""


@dataclass
class NotarisedBook:
    """A book, its file, and who signs for it."""

    path: Path
    keys_folder: Path
    database: Database
    clock: VirtualClock

    @classmethod
    async def begin(cls, folder: Path, database: Database | None = None) -> "NotarisedBook":
        """Make an empty book, and a key; in a SQLite file unless another database is handed in."""
        path, clock = folder / "ledger.db", VirtualClock()
        database = database or SqliteDatabase(path)
        await migrate(database, MIGRATIONS)
        return cls(path, ensure_signing_keys(folder / "ledger-keys", clock=clock), database, clock)

    @property
    def url(self) -> str:
        """Name it as settings do."""
        return f"sqlite:///{self.path}"

    @property
    def book(self) -> Book:
        """Read it."""
        return Book(database=self.database, book_id=1)

    @property
    def notary(self) -> Notary:
        """Have it notarised."""
        return Notary(self.book, self.clock, keys_folder=self.keys_folder)

    @property
    def statements(self) -> StatementMaker:
        """Make statements."""
        return StatementMaker(self.book, self.clock, keys_folder=self.keys_folder)

    async def commit(self, commands: Sequence[Command]) -> None:
        """Write commands, all of which must be accepted."""
        async with committing(self.database, book_id=1, clock=self.clock) as committer:
            for start in range(0, len(commands), BATCH_COMMANDS_MAX):
                outcomes = await committer.submit_many(commands[start : start + BATCH_COMMANDS_MAX])
                assert [outcome for outcome in outcomes if isinstance(outcome, TradeFlowError)] == []

    async def sign(self) -> SignedHead:
        """Have the notary sign."""
        head = await self.notary.run_once()
        assert head is not None
        return head

    async def keys(self) -> list[PublicJwk]:
        """Read the public keys."""
        async with self.database.snapshot() as connection:
            return await public_keys(connection, 1)

    def change(self, sql: str, *values: object) -> None:
        """Change the file behind everybody's back."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(sql, values)

    def look(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the file."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql, values).fetchall()


def trade_in(folder: Path, commands: Sequence[Command]) -> None:
    """Write commands into a folder's book, made if need be, and leave it: a `tradeflow` command opens it by itself."""

    async def trade() -> None:
        book = await NotarisedBook.begin(folder)
        await book.commit(commands)
        await book.database.close()

    asyncio.run(trade())


def some_trade() -> list[Command]:
    """Move money in every way that leaves postings, between a buyer and two sellers."""
    return [
        a.open_account(),
        a.deposit(amount=20_000, note="a private note"),
        a.deposit(amount=Money(500, "JPY")),
        a.reserve("first", 3_000),
        a.capture("first", {SELLER: 1_999, OTHER_SELLER: 1_001}, final=True),
        a.reserve("second", 500),
        a.capture("second", {SELLER: 250}, number=1),
        a.refund("first", {SELLER: 999}),
        a.deposit(wallet=OTHER_SELLER, amount=77),
    ]
