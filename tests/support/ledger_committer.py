"""A committer on a real SQLite file, behind a database that can be told to fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prometheus_client import CollectorRegistry

from services.ledger.committer.cache import BookCache
from services.ledger.committer.committer import Committer, committing
from services.ledger.committer.lease import BookLease
from services.ledger.committer.pipeline import Pace
from services.runtime.clock import SystemClock
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Row
from services.runtime.database_opening import open_database
from tests.support.faulty_database import FaultyDatabase
from tests.support.ledger_commands import BUYER
from tests.support.ledger_invariants import assert_money_is_conserved

EAGER = Pace(ahead_commands_min=1, cold_commands_max=0, careful_batches=0)
"""Plans ahead whatever can be, so that few commands show what many would do."""


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
    registry: CollectorRegistry

    def ahead(self, outcome: str) -> int:
        """Count the batches that were planned ahead and `kept`, or `missed`."""
        return int(self.registry.get_sample_value("tradeflow_ledger_batches_ahead_total", {"outcome": outcome}) or 0)

    def leads(self) -> int:
        """Read the metric that tells whether it leads."""
        return int(self.registry.get_sample_value("tradeflow_ledger_leader") or 0)

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

    async def rows(self, sql: str, *arguments: object) -> list[Row]:
        """Read."""
        async with self.database.snapshot() as connection:
            return await connection.fetch(sql, *arguments)


@asynccontextmanager
async def a_committer(
    place: Path | str,
    *,
    batch_commands_max: int = 1024,
    queue_commands_max: int = 8192,
    pace: Pace = EAGER,
    cache: BookCache | None = None,
    lease_row: int = 1,
) -> AsyncIterator[CommitterWorld]:
    """Run a committer on the book of a folder, or of a database's URL, and check the book at the end.

    It plans ahead from its second batch on, unless told to be careful. Faults don't hit its lease. Two with leases of
    different rows both believe that they lead.
    """
    real = open_database(place if isinstance(place, str) else f"sqlite:///{place / 'ledger.db'}")
    database = FaultyDatabase(real)
    await migrate(database, "services.ledger.migrations")
    commits: list[int] = []
    async with committing(
        database,
        book_id=1,
        clock=HastyClock(),
        batch_commands_max=batch_commands_max,
        queue_commands_max=queue_commands_max,
        on_commit=lambda: commits.append(1),
        lease=BookLease(real, lease_row, SystemClock()),
        pace=pace,
        cache=cache,
        registry=(registry := CollectorRegistry()),
    ) as committer:
        yield CommitterWorld(committer, database, commits, registry)
    await assert_money_is_conserved(database)
    await database.close()
