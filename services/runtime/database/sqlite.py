"""The embedded database: one SQLite file, in WAL mode, every commit on the disk.

Several processes may share a file. In each, one transaction writes at a time; those that read go on beside it.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from piccolo.engine.base import Engine

from services.runtime.database import dialect
from services.runtime.database.port import Connection, PoolUsage, PreparedWrite, Query, Row
from services.runtime.database.sqlite_engine import PooledSqliteEngine
from services.runtime.database.sqlite_pool import SqlitePool
from services.runtime.database.sqlite_transaction import SqliteTransaction

_READERS_MAX = 4
"""Sessions that read at once; a laptop's cores."""

_BUSY_TIMEOUT_SECONDS = 10.0
"""How long to wait for other transactions; one takes milliseconds, so that past this something is stuck."""


class SqliteDatabase:
    """The `Database` port on a SQLite file.

    A task that is started inside a transaction isn't in it. To run statements of one transaction in several tasks, hand
    them its connection.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        readers_max: int = _READERS_MAX,
        busy_timeout_seconds: float = _BUSY_TIMEOUT_SECONDS,
    ) -> None:
        """Stand on a file; it and its folder are created when missing.

        Args:
            path: The file.
            readers_max: How many snapshots and queries read at once; more wait.
            busy_timeout_seconds: How long to wait for a turn before `UnavailableError`.
        """
        self.path = Path(path).resolve()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._pool = SqlitePool(self.path, readers_max=readers_max, busy_timeout_seconds=busy_timeout_seconds)
        self._engine = PooledSqliteEngine(self.path, self._pool)
        self.engine: Engine[Any] = self._engine
        self.definitions_commit = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Begin a transaction that writes; commit at the end, roll back on any exception.

        Raises:
            UnavailableError: Other transactions were in the way for too long.
            RuntimeError: The task is in a transaction already.
        """
        async with self._engine.transaction(allow_nested=False) as transaction:
            yield SqliteConnection(transaction)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Begin a transaction that only reads, all of it from one state of the database."""
        async with self._engine.snapshot() as transaction:
            yield SqliteConnection(transaction)

    def prepare(self, sql: str, rows: Sequence[Sequence[object]]) -> PreparedWrite:
        """Keep the rows as they are: SQLite takes values."""
        return PreparedWrite(sql, rows)

    def usage(self) -> Mapping[str, PoolUsage]:
        """Tell how the sessions are used now: the one that writes, and those that only read."""
        return self._pool.usage()

    async def translated(self, sql: str) -> str:
        """Show a statement without arguments as SQLite gets it."""
        return dialect.translate(sql).text

    async def close(self) -> None:
        """Close all sessions; transactions under way end first."""
        await self._pool.close()


class SqliteConnection:
    """The `Connection` port on a transaction."""

    def __init__(self, transaction: SqliteTransaction) -> None:
        """Run statements in this transaction."""
        self._transaction = transaction

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        """Run a SELECT and return all of its rows."""
        statement = dialect.translate(sql)
        return (await self._transaction.run(statement.text, statement.bind(arguments))).rows

    async def fetch_in(self, sql: str, in_: Sequence[object], *arguments: object) -> list[Row]:
        """Run a SELECT whose text holds `IN ($in)`; see the port."""
        # A value that is asked for twice is found once, also when the two would fall into different statements.
        values = iter(dict.fromkeys(in_))
        rows: list[Row] = []
        while chunk := list(islice(values, dialect.IN_VALUES_MAX)):
            chunk = dialect.padded(chunk)
            statement = dialect.translate(sql, len(chunk))
            rows += (await self._transaction.run(statement.text, statement.bind(arguments, chunk))).rows
        return rows

    async def fetch_together(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Run several SELECTs, one after the other."""
        return [
            await self.fetch(query.sql, *query.arguments)
            if query.in_ is None
            else await self.fetch_in(query.sql, query.in_, *query.arguments)
            for query in queries
        ]

    async def execute(self, sql: str, *arguments: object) -> int:
        """Run one statement and return the number of rows it changed."""
        statement = dialect.translate(sql)
        return (await self._transaction.run(statement.text, statement.bind(arguments))).changed_rows

    async def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one INSERT (or upsert) for many rows, in their order."""
        rows = list(rows)
        if dialect.translate_rows(sql, 1) is None:
            statement = dialect.translate(sql)
            await self._transaction.run_many(statement.text, [statement.bind(row) for row in rows])
            return
        start = 0
        for count in dialect.row_counts(len(rows), len(rows[0]) if rows else 0):
            values = [value for row in rows[start : start + count] for value in row]
            await self._transaction.run(dialect.translate_rows(sql, count) or sql, values)
            start += count

    async def write_at_commit(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Write at once: there is no round trip to save."""
        await self.execute_many(sql, rows)

    def tell_first_write(self, on_first_write: Callable[[], None]) -> None:
        """Tell at once: whoever has begun is the only one who writes."""
        on_first_write()

    async def write_prepared(self, write: PreparedWrite) -> None:
        """Write at once."""
        await self.execute_many(write.sql, write.rows)
