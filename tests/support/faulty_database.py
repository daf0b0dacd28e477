"""A database that fails where a test says: at a statement, before its COMMIT, or after it really committed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from piccolo.engine.base import Engine

from services.runtime.database.port import Connection, Database, PoolUsage, PreparedWrite, Query, Row
from services.runtime.errors import UnavailableError

BEFORE_COMMIT = -1
"""All statements ran, and the connection is lost before COMMIT: nothing happened."""

AFTER_COMMIT = -2
"""The connection is lost after COMMIT took effect and before its answer came."""


def lost_connection() -> Exception:
    """Make what the port makes of a lost connection."""
    return UnavailableError("the connection was lost", reason="database_unreachable")


@dataclass
class Fault:
    """Where one transaction fails: the number of its statement, from 0, or one of the constants."""

    at: int
    error: Callable[[], Exception] = lost_connection


class FaultyDatabase:
    """Wraps a real database; each transaction takes the next of `faults`, and None lets it pass.

    `poison` is asked about every row that is written; where it says yes, the statement fails.
    """

    def __init__(self, real: Database) -> None:
        """Fail nowhere so far."""
        self._real = real
        self.engine: Engine[Any] = real.engine
        self.definitions_commit = real.definitions_commit
        self.faults: list[Fault | None] = []
        self.unavailable = False
        self.poison: Callable[[Sequence[object]], bool] = lambda _: False
        self.statements: list[str] = []
        self.transactions = 0
        self.snapshots = 0
        self.prepared = 0
        self.tells_first_writes = True
        self._may_commit = asyncio.Event()
        self._may_commit.set()
        self.reached_commit = asyncio.Event()

    def hold_commits_back(self) -> None:
        """Let no transaction commit; `reached_commit` tells that one wants to."""
        self._may_commit.clear()
        self.reached_commit.clear()

    def let_commits_go(self) -> None:
        """Let them commit again."""
        self._may_commit.set()

    @contextmanager
    def nobody_told_of_locks(self) -> Iterator[None]:
        """Tell no transaction that its first write was done, as a slow wire does."""
        self.tells_first_writes = False
        try:
            yield
        finally:
            self.tells_first_writes = True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Begin a transaction that fails at its fault."""
        self.transactions += 1
        if self.unavailable:
            raise lost_connection()
        fault = self.faults.pop(0) if self.faults else None
        async with self._real.transaction() as connection:
            yield _FaultyConnection(connection, self, fault)
            self.reached_commit.set()
            await self._may_commit.wait()
            if fault is not None and fault.at == BEFORE_COMMIT:
                raise fault.error()
        if fault is not None and fault.at == AFTER_COMMIT:
            raise fault.error()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Read without faults."""
        self.snapshots += 1
        async with self._real.snapshot() as connection:
            yield connection

    def prepare(self, sql: str, rows: Sequence[Sequence[object]]) -> PreparedWrite:
        """Let the real one prepare."""
        self.prepared += 1
        return self._real.prepare(sql, rows)

    def usage(self) -> Mapping[str, PoolUsage]:
        """Tell what the real one tells."""
        return self._real.usage()

    async def close(self) -> None:
        """Close the real one."""
        await self._real.close()


class _FaultyConnection:
    def __init__(self, real: Connection, database: FaultyDatabase, fault: Fault | None) -> None:
        self._real = real
        self._database = database
        self._fault = fault
        self._count = 0

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        self._step(sql)
        return await self._real.fetch(sql, *arguments)

    async def fetch_in(self, sql: str, in_: Sequence[object], *arguments: object) -> list[Row]:
        self._step(sql)
        return await self._real.fetch_in(sql, in_, *arguments)

    async def fetch_together(self, queries: Sequence[Query]) -> list[list[Row]]:
        for query in queries:
            self._step(query.sql)
        return await self._real.fetch_together(queries)

    async def execute(self, sql: str, *arguments: object) -> int:
        self._step(sql)
        return await self._real.execute(sql, *arguments)

    async def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        await self._real.execute_many(sql, self._written(sql, rows))

    async def write_at_commit(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        await self._real.write_at_commit(sql, self._written(sql, rows))

    def tell_first_write(self, on_first_write: Callable[[], None]) -> None:
        if self._database.tells_first_writes:
            self._real.tell_first_write(on_first_write)

    async def write_prepared(self, write: PreparedWrite) -> None:
        self._written(write.sql, write.rows)
        await self._real.write_prepared(write)

    def _written(self, sql: str, rows: Iterable[Sequence[object]]) -> list[Sequence[object]]:
        rows = list(rows)
        self._step(sql)
        if any(self._database.poison(row) for row in rows):
            raise ValueError("the database can't take this row")
        return rows

    def _step(self, sql: str) -> None:
        self._database.statements.append(" ".join(sql.split()))
        fault, self._count = self._fault, self._count + 1
        if fault is not None and fault.at == self._count - 1:
            raise fault.error()
