"""What a service asks of its database, whichever engine is behind it.

Hand-written SQL has ONE text for all engines, in this dialect: placeholders `$1`, `$2`, …; `INSERT … ON CONFLICT (…) DO
UPDATE SET x = EXCLUDED.x` or `DO NOTHING`; `SELECT … FOR UPDATE` (SQLite, whose write transactions exclude each other,
drops the words); `IN ($in)` for a list; `INDEXED BY index` behind a table, and `CROSS JOIN … ON` for a join in the
order in which it is written, where no engine's statistics may decide how rows are found. No RETURNING. Types in
migrations: BIGINT, INTEGER, BOOLEAN, VARCHAR(n), TEXT, BINARY(n), VARBINARY(n), BLOB (up to 16 MiB), UUID. Rows come
back as tuples in the order of the columns that the statement lists.

Piccolo's queries join the transaction they are awaited in: inside `async with database.transaction():` they run on
its connection, elsewhere on one of their own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from piccolo.engine.base import Engine

Row = tuple[Any, ...]
"""One row: the values of the listed columns, in their order."""


class DuplicateKeyError(Exception):
    """A row with this primary or unique key exists; the transaction can't go on where the engine says so."""


class ValueMissingError(Exception):
    """A column that takes no NULL got one: so a write ends that computes its value, and whose condition fails."""


class AlreadyInPlaceError(Exception):
    """A definition finds done what it should do: the table, column or index is there, or what to drop isn't.

    Raised where definitions commit by themselves, so that a migration that was interrupted can go on.
    """


class TableMissingError(Exception):
    """A statement names a table that isn't there."""


class NotGrantedError(Exception):
    """The database's user may not do this; his grants say what he may."""


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT of several that are asked together: as for `fetch`, or with `in_` as for `fetch_in`."""

    sql: str
    arguments: Sequence[object] = ()
    in_: Sequence[object] | None = None


@dataclass(frozen=True, slots=True)
class PreparedWrite:
    """A write at commit that was made ready before its transaction, by the database that will run it.

    `statements` is what the engine makes of it, where that can be made ahead.
    """

    sql: str
    rows: Sequence[Sequence[object]]
    statements: Sequence[bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUsage:
    """How a pool of sessions is used now."""

    lent: int
    idle: int
    sessions_max: int
    waiting: int
    """Tasks that wait for a session."""


class CommitWrites(Protocol):
    """Takes writes that may wait for the end of a transaction."""

    async def write_at_commit(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run an INSERT, upsert, UPDATE or DELETE for each row of arguments; see `Connection`."""
        ...


class Connection(CommitWrites, Protocol):
    """One session of the database, inside a transaction."""

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        """Run a SELECT and return all of its rows."""
        ...

    async def fetch_in(self, sql: str, in_: Sequence[object], *arguments: object) -> list[Row]:
        """Run a SELECT whose text holds `IN ($in)` for the values of `in_`, in as many statements as it takes.

        Rows of all statements follow each other; an empty `in_` gives no rows and runs nothing.
        """
        ...

    async def fetch_together(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Run several SELECTs in their order and return the rows of each; in one round trip where the engine can."""
        ...

    async def execute(self, sql: str, *arguments: object) -> int:
        """Run one statement and return the number of rows it changed.

        Raises:
            DuplicateKeyError: A row with this key exists.
        """
        ...

    async def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one INSERT (or upsert) for many rows, in their order; no rows is fine and runs nothing.

        Raises:
            DuplicateKeyError: A row with one of these keys exists.
        """
        ...

    async def write_at_commit(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run an INSERT, upsert, UPDATE or DELETE for each row of arguments, any time before the transaction ends.

        For writes whose result nobody in this transaction needs. An engine that can keeps them, in their order, and
        sends them together with COMMIT; then their errors come out of the transaction's end, which rolled it back.
        Others run them at once. Any other statement of the transaction sees them either way.

        Raises:
            DuplicateKeyError: A row with one of these keys exists; here or out of the transaction's end.
            ValueMissingError: A column that takes no NULL got one, in the same way.
        """
        ...

    def tell_first_write(self, on_first_write: Callable[[], None]) -> None:
        """Have it called once the first write at commit has its locks, while others may yet follow; it must not raise.

        Whoever then begins a write of the same rows comes after this transaction.
        """
        ...

    async def write_prepared(self, write: PreparedWrite) -> None:
        """Do what `write_at_commit` does, of what `Database.prepare` made ready."""
        ...


class Database(Protocol):
    """A pool of sessions.

    Errors of the engine come out as they are, except `DuplicateKeyError` and those worth a retry (busy, deadlock, lost
    connection), which come out as `UnavailableError` after the transaction was rolled back: reasons `database_busy`,
    `database_unreachable`, and `transaction_outcome_unknown` when the connection was lost while COMMIT was under way,
    so that all of it may have happened, or nothing.
    """

    engine: Engine[Any]

    definitions_commit: bool
    """Whether CREATE, ALTER and DROP commit by themselves, so that a transaction doesn't undo them."""

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Begin a transaction that writes; commit at the end, roll back on any exception.

        READ COMMITTED on MySQL, BEGIN IMMEDIATE on SQLite. Take no second transaction inside it.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Connection]:
        """Begin a transaction that only reads, all of it from one state of the database."""
        ...

    def prepare(self, sql: str, rows: Sequence[Sequence[object]]) -> PreparedWrite:
        """Make a write ready, so that as little as possible is left to do while its transaction holds locks."""
        ...

    def usage(self) -> Mapping[str, PoolUsage]:
        """Tell how the sessions are used now, by what they are for: always the same names."""
        ...

    async def close(self) -> None:
        """Close all sessions; transactions under way end first."""
        ...
