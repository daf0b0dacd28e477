"""A committer on a real SQLite file, behind a database that can be told to fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from services.ledger.committer.committer import Committer, committing
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Row
from services.runtime.database.sqlite import SqliteDatabase
from tests.support.faulty_database import FaultyDatabase
from tests.support.ledger_commands import BUYER
from tests.support.ledger_invariants import assert_money_is_conserved
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent


class HastyClock:
    """The machine's clock, for which no wait takes time."""

    def now(self) -> datetime:
        """Tell the instant."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Give up one turn."""
        await asyncio.sleep(min(seconds, 0))


@dataclass
class CommitterWorld:
    """The committer, its database, and looks into the tables."""

    committer: Committer
    database: FaultyDatabase
    commits: list[int]

    def in_an_hour(self) -> datetime:
        """Tell an expiry that lies ahead."""
        return datetime.now(UTC) + timedelta(hours=1)

    async def posted(self, wallet: UUID = BUYER) -> int:
        """Tell a wallet's posted money in cents; 0 without an account."""
        rows = await self.rows(
            "SELECT b.credits_posted - b.debits_posted FROM accounts a JOIN balances b "
            "ON b.book_id = a.book_id AND b.account_id = a.account_id WHERE a.code = $1",
            f"wallet:{wallet}:EUR".encode(),
        )
        return int(rows[0][0]) if rows else 0

    async def revision(self) -> int:
        """Tell how often the book was committed."""
        return int((await self.rows("SELECT revision FROM books"))[0][0])

    async def events(self) -> list[WalletEvent]:
        """Read all events of the outbox."""
        rows = await self.rows("SELECT payload FROM outbox ORDER BY sequence")
        return [WalletEvent.FromString(payload) for (payload,) in rows]

    async def rows(self, sql: str, *arguments: object) -> list[Row]:
        """Read."""
        async with self.database.snapshot() as connection:
            return await connection.fetch(sql, *arguments)


@asynccontextmanager
async def a_committer(
    folder: Path, *, batch_commands_max: int = 1024, queue_commands_max: int = 8192
) -> AsyncIterator[CommitterWorld]:
    """Run a committer on the folder's book, and check the book at the end."""
    database = FaultyDatabase(SqliteDatabase(folder / "ledger.db"))
    await migrate(database, "services.ledger.migrations")
    commits: list[int] = []
    async with committing(
        database,
        book_id=1,
        clock=HastyClock(),
        batch_commands_max=batch_commands_max,
        queue_commands_max=queue_commands_max,
        on_commit=lambda: commits.append(1),
    ) as committer:
        yield CommitterWorld(committer, database, commits)
    await assert_money_is_conserved(database)
    await database.close()
