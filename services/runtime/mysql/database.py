"""The `Database` port on MySQL and MariaDB."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from piccolo.engine.base import Engine

from services.runtime.database.port import Connection, PoolUsage, PreparedWrite, Query, Row
from services.runtime.mysql.bulk import statements_for
from services.runtime.mysql.dialect import translate
from services.runtime.mysql.engine import MysqlEngine
from services.runtime.mysql.options import MysqlOptions
from services.runtime.mysql.pool import MysqlPool
from services.runtime.mysql.results import Result
from services.runtime.mysql.statement import OnConflict, Statement
from services.runtime.mysql.transaction import MysqlTransaction

IN_VALUES_MAX = 1_000
"""Values of one `IN ($in)`; longer lists take several statements of one round trip. Past
`eq_range_index_dive_limit` (200) the optimizer estimates; past some thousand it may prefer to read the whole table."""

READING_SECONDS_MAX = 60.0
"""How long a connection that only reads is used. A server that was replaced goes on answering it, with what it has:
only who writes is told, and not every process writes."""

PACKET_STATEMENTS_MAX = 1_000
"""Statements of one round trip, so that one deadline fits all."""


class MysqlDatabase:
    """The `Database` port on a server.

    A task that is started inside a transaction isn't in it. To run statements of one transaction in several tasks, hand
    them its connection.
    """

    definitions_commit = True

    def __init__(self, options: MysqlOptions) -> None:
        """Stand on a server; nothing is connected yet."""
        self._readers = MysqlPool(
            replace(options, pool_max=options.read_pool_max), session_seconds_max=READING_SECONDS_MAX
        )
        self._pool = MysqlPool(options, beside=self._readers)
        self._engine = MysqlEngine(self._pool, self._readers)
        self.engine: Engine[Any] = self._engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Begin a transaction that writes, READ COMMITTED; commit at the end, roll back on any exception.

        Raises:
            UnavailableError: No connection came free in time, a row stayed locked, or the server is away.
            RuntimeError: The task is in a transaction already.
        """
        async with self._engine.transaction(allow_nested=False) as transaction:
            yield MysqlConnection(transaction)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Begin a transaction that only reads, all of it from the state at its first statement."""
        async with self._engine.snapshot() as transaction:
            yield MysqlConnection(transaction)

    def prepare(self, sql: str, rows: Sequence[Sequence[object]]) -> PreparedWrite:
        """Write the statements, once it is known which server will read them."""
        server = self._pool.server
        if server is None:
            return PreparedWrite(sql, rows)
        return PreparedWrite(sql, rows, list(statements_for(translate(sql, server), rows, server)))

    def usage(self) -> Mapping[str, PoolUsage]:
        """Tell how the sessions are used now: those that write, and those that only read."""
        return {"write": self._pool.usage(), "read": self._readers.usage()}

    async def translated(self, sql: str) -> str:
        """Show a statement without arguments as this server gets it."""
        async with self._readers.lend() as loan:
            statement = translate(sql, loan.session.greeting.server)
        return statement.template.render(()).encode("latin-1").decode()

    async def close(self) -> None:
        """Close all sessions; transactions under way end first."""
        await asyncio.gather(self._pool.close(), self._readers.close())


class MysqlConnection:
    """The `Connection` port on a transaction."""

    def __init__(self, transaction: MysqlTransaction) -> None:
        """Run statements in this transaction."""
        self._transaction = transaction

    def _translated(self, sql: str) -> Statement:
        return translate(sql, self._transaction.session.greeting.server)

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        """Run a SELECT and return all of its rows."""
        (rows,) = await self.fetch_together([Query(sql, arguments)])
        return rows

    async def fetch_in(self, sql: str, in_: Sequence[object], *arguments: object) -> list[Row]:
        """Run a SELECT whose text holds `IN ($in)`; see the port."""
        (rows,) = await self.fetch_together([Query(sql, arguments, in_)])
        return rows

    async def fetch_together(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Run several SELECTs in one round trip."""
        packets = [self._selects(query) for query in queries]
        statements = [statement for packet in packets for statement in packet]
        results: list[Result] = []
        for start in range(0, len(statements), PACKET_STATEMENTS_MAX):
            results += await self._transaction.run(statements[start : start + PACKET_STATEMENTS_MAX])
        remaining = iter(results)
        return [[row for _ in packet for row in next(remaining).rows] for packet in packets]

    def _selects(self, query: Query) -> list[bytes]:
        """Write a SELECT, once for each part of its list of values."""
        template = self._translated(query.sql).template
        if query.in_ is None:
            if template.has_list:
                raise ValueError(f"$in has values in fetch_in only: {query.sql}")
            return [template.render(query.arguments).encode("latin-1")]
        # A value that is asked for twice is found once, also when the two would fall into different statements.
        values = list(dict.fromkeys(query.in_))
        parts = [values[start : start + IN_VALUES_MAX] for start in range(0, len(values), IN_VALUES_MAX)]
        return [template.render(query.arguments, part).encode("latin-1") for part in parts]

    async def execute(self, sql: str, *arguments: object) -> int:
        """Run one statement and return the number of rows it changed, unchanged ones that it found included."""
        statement = self._translated(sql)
        written = statement.template.render(arguments).encode("latin-1")
        (result,) = await self._transaction.run([written], patient=statement.defines)
        return _changed_rows(statement, result)

    async def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one INSERT (or upsert) for many rows, in their order."""
        await self._transaction.run_all(self._statements(sql, rows))

    async def write_at_commit(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Keep writes until COMMIT, and send them in its packet."""
        await self._transaction.add_to_commit(self._statements(sql, rows))

    def tell_first_write(self, on_first_write: Callable[[], None]) -> None:
        """Have it called when the server has answered the first of the writes that wait for COMMIT."""
        self._transaction.tell_first_write(on_first_write)

    async def write_prepared(self, write: PreparedWrite) -> None:
        """Keep it until COMMIT; what couldn't be written ahead is written now."""
        if write.statements is None:
            await self.write_at_commit(write.sql, write.rows)
        else:
            await self._transaction.add_to_commit(write.statements)

    def _statements(self, sql: str, rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
        rows = rows if isinstance(rows, list | tuple) else list(rows)
        return statements_for(self._translated(sql), rows, self._transaction.session.greeting.server)


def _changed_rows(statement: Statement, result: Result) -> int:
    """Count as SQLite does: what an UPDATE found, changed or not, and each upserted row once."""
    if statement.on_conflict is OnConflict.UPDATE:
        return 1 if result.matched_rows is None else result.matched_rows
    if statement.verb == "UPDATE" and result.matched_rows is not None:
        return result.matched_rows
    return result.affected_rows
