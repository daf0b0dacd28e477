"""The cut that hurts: COMMIT was sent, and no answer comes. It happened, or it did not; callers get one answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from piccolo.engine.base import Engine

from services.ledger.committer.committer import committing
from services.runtime.database.port import Connection, Database, PoolUsage, PreparedWrite
from tests.integration.callers import Callers
from tests.integration.conftest import ledger_database
from tests.integration.journal import assert_book_keeps
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema

pytestmark = [pytest.mark.part("mysql"), pytest.mark.timeout(120)]

PAUSED_SECONDS = 3.0
"""Longer than the adapter waits for a statement below."""

PAUSES = 2
"""How often it happens."""


class StallingDatabase:
    """Wraps a real database; `before_commit` runs when a transaction's body is through, before COMMIT is sent."""

    def __init__(self, real: Database) -> None:
        """Stall nowhere so far."""
        self._real = real
        self.engine: Engine[Any] = real.engine
        self.definitions_commit = real.definitions_commit
        self.before_commit: Callable[[], Awaitable[None]] | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self._real.transaction() as connection:
            yield connection
            stall, self.before_commit = self.before_commit, None
            if stall is not None:
                await stall()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        async with self._real.snapshot() as connection:
            yield connection

    def prepare(self, sql: str, rows: Sequence[Sequence[object]]) -> PreparedWrite:
        return self._real.prepare(sql, rows)

    def usage(self) -> Mapping[str, PoolUsage]:
        return self._real.usage()

    async def close(self) -> None:
        await self._real.close()


async def cut_commits(database: StallingDatabase, server: Server, end: Callable[[], object]) -> None:
    """Pause the server as a COMMIT is sent, several times; `end` ends the pause."""
    for _ in range(PAUSES):
        paused = asyncio.Event()

        async def pause(paused: asyncio.Event = paused) -> None:
            server.pause()
            paused.set()

        await asyncio.sleep(0.3)
        database.before_commit = pause
        await paused.wait()
        await asyncio.sleep(PAUSED_SECONDS)
        await asyncio.to_thread(end)


@pytest.mark.parametrize("ending", ["resumed", "killed"])
async def test_a_commit_that_nobody_heard_of_again_is_answered_once(
    private_server: Callable[[str], Server], ending: str
) -> None:
    server = private_server("mysql")

    def restart() -> None:
        server.kill()
        server.start()

    with fresh_schema(server.start()) as url:
        impatient = "statement_timeout_seconds=1&connect_timeout_seconds=1"
        async with ledger_database(url) as reader, ledger_database(url, impatient) as real:
            database = StallingDatabase(real)
            async with committing(database, book_id=1) as committer:
                callers = Callers([committer], "caller", 16, repeated_share=0.05)
                calling = asyncio.create_task(callers.run(PAUSES * (PAUSED_SECONDS + 1)))
                await cut_commits(database, server, server.resume if ending == "resumed" else restart)
                await calling

            assert callers.slowest_seconds > PAUSED_SECONDS
            assert await assert_book_keeps(reader, callers.told()) == callers.accepted()
