"""What a service asks of its database, whichever engine is behind it.

Hand-written SQL has ONE text for all engines, in this dialect: placeholders `$1`, `$2`, …; `INSERT … ON CONFLICT (…) DO
UPDATE SET x = EXCLUDED.x` or `DO NOTHING`; `SELECT … FOR UPDATE` (SQLite, whose write transactions exclude each other,
drops the words); `IN ($in)` for a list. No RETURNING. Types in migrations: BIGINT, INTEGER, BOOLEAN, VARCHAR(n), TEXT,
BINARY(n), VARBINARY(n), UUID. Rows come back as tuples in the order of the columns that the statement lists.

Piccolo's queries join the transaction they are awaited in: inside `async with database.transaction():` they run on
its connection, elsewhere on one of their own.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from piccolo.engine.base import Engine

Row = tuple[Any, ...]
"""One row: the values of the listed columns, in their order."""


class Connection(Protocol):
    """One session of the database, inside a transaction."""

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        """Run a SELECT and return all of its rows."""
        ...

    async def fetch_in(self, sql: str, in_: Sequence[object], *arguments: object) -> list[Row]:
        """Run a SELECT whose text holds `IN ($in)` for the values of `in_`, in as many statements as it takes.

        Rows of all statements follow each other; an empty `in_` gives no rows and runs nothing.
        """
        ...

    async def execute(self, sql: str, *arguments: object) -> int:
        """Run one statement and return the number of rows it changed."""
        ...

    async def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one INSERT (or upsert) for many rows, in their order; no rows is fine and runs nothing."""
        ...


class Database(Protocol):
    """A pool of sessions.

    Errors of the engine come out as they are, except those worth a retry (busy, deadlock, lost connection), which come
    out as `UnavailableError` after the transaction was rolled back.
    """

    engine: Engine[Any]

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Begin a transaction that writes; commit at the end, roll back on any exception.

        READ COMMITTED on MySQL, BEGIN IMMEDIATE on SQLite. Take no second transaction inside it.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Connection]:
        """Begin a transaction that only reads, all of it from one state of the database."""
        ...

    async def close(self) -> None:
        """Close all sessions; transactions under way end first."""
        ...
