"""One open SQLite connection, driven from an event loop.

Short work runs on the loop's own thread: a look-up takes 20 µs there and 150 µs through a thread, and SQLite gives the
interpreter lock away at every row, so that a thread beside a busy loop waits for it a thousand times to read a thousand
rows (measured: 150 ms instead of 1 ms). What may take long runs in a thread: commits, which wait for the disk, and
queries that turn out to be long, which are stopped and begun again there.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from services.runtime.database import dialect
from services.runtime.database.sqlite_errors import translated_errors
from services.runtime.errors import UnavailableError

_TICK_INSTRUCTIONS = 10_000
"""Instructions of SQLite's virtual machine between two looks at the budget; about half a millisecond."""

_BUDGET_TICKS = 10
"""What a query may use on the loop's thread; about 5 ms, some thousands of rows."""

_STATEMENTS_CACHED = 512
"""Prepared statements of one connection: each shape of the services, in a few sizes."""

_CACHE_KIBIBYTES = 32 * 1024
"""Pages of the database that one connection keeps."""

_WAL_BYTES_MAX = 64 * 1024 * 1024
"""What the write-ahead log is cut back to after a long reader let it grow."""

T = TypeVar("T")


def _integer(value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        return int(Decimal(value.decode()))


# Piccolo's converter gives the same values through Decimal, at several times the price, for every INTEGER of every row.
sqlite3.register_converter("INTEGER", _integer)


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave."""

    rows: list[tuple[Any, ...]]
    columns: tuple[str, ...]
    changed_rows: int


class SqliteSession:
    """A connection that one task or transaction uses at a time."""

    def __init__(self, path: Path, threads: Executor, *, reads_only: bool, busy_timeout_seconds: float) -> None:
        """Prepare a session; `open` connects it.

        Args:
            path: The database's file.
            threads: Where long work runs.
            reads_only: Refuse whatever writes.
            busy_timeout_seconds: How long SQLite may block the calling thread for another process.
        """
        self._path = path
        self._threads = threads
        self._reads_only = reads_only
        self._busy_timeout_seconds = busy_timeout_seconds
        self._connection: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        self._ticks = 0
        self._ticks_max = 0

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open, as SQLite sees it."""
        return self._connection is not None and self._connection.in_transaction

    async def open(self) -> None:
        """Connect; does nothing when connected."""
        if self._connection is None:
            await self._finished(self._connect)

    def open_now(self) -> None:
        """Connect on the calling thread; does nothing when connected."""
        if self._connection is None:
            self._connect()

    def _connect(self) -> None:
        with translated_errors():
            connection = sqlite3.connect(
                self._path,
                timeout=self._busy_timeout_seconds,
                isolation_level=None,
                detect_types=sqlite3.PARSE_DECLTYPES,
                check_same_thread=False,
                cached_statements=_STATEMENTS_CACHED,
            )
            try:
                self._configure(connection)
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode = WAL")
        for pragma in (
            "synchronous = FULL",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            f"cache_size = -{_CACHE_KIBIBYTES}",
            f"journal_size_limit = {_WAL_BYTES_MAX}",
            f"query_only = {'ON' if self._reads_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.set_progress_handler(self._tick, _TICK_INSTRUCTIONS)

    def _tick(self) -> int:
        self._ticks += 1
        return 1 if self._ticks_max and self._ticks > self._ticks_max else 0

    async def run(self, sql: str, arguments: Sequence[object] = ()) -> Result:
        """Run one statement of SQLite's own dialect."""
        async with self._turn:
            if not dialect.reads_only(sql):
                return self._run(sql, arguments)
            try:
                return self._run(sql, arguments, ticks_max=_BUDGET_TICKS)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                    raise
            # Nothing was changed and nothing was given out, so that it can begin again where it hinders nobody.
            return await self._finished(lambda: self._run(sql, arguments), interruptible=True)

    async def run_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement of SQLite's own dialect once for each row of arguments."""
        async with self._turn:
            with translated_errors():
                self._opened().executemany(sql, rows)

    async def run_in_thread(self, sql: str) -> None:
        """Run a statement that may wait for the disk; when it returns or raises, even cancelled, it has ended."""
        async with self._turn:
            await self._finished(lambda: self._run(sql, ()))

    def run_now(self, sql: str, arguments: Sequence[object] = ()) -> Result:
        """Run a short statement on the calling thread, between the turns of tasks."""
        return self._run(sql, arguments)

    def _run(self, sql: str, arguments: Sequence[object], *, ticks_max: int = 0) -> Result:
        self._ticks, self._ticks_max = 0, ticks_max
        with translated_errors():
            cursor = self._opened().execute(sql, arguments)
            rows = cursor.fetchall()
        columns = tuple(column[0] for column in cursor.description or ())
        return Result(rows, columns, max(cursor.rowcount, 0))

    async def _finished(self, job: Callable[[], T], *, interruptible: bool = False) -> T:
        """Run a job in a thread, and never leave before it ended: what follows on this connection relies on it."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if interruptible:
                self._opened().interrupt()
            while not future.done():
                await _ignoring_cancellation(future)
            # Read, so that asyncio doesn't complain that nobody did: the caller learns of its cancellation only.
            future.exception()
            raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise UnavailableError("the database is closed", reason="database_closed")
        return self._connection

    def rollback(self) -> None:
        """End the open transaction, if there is one, so that nothing of it is left whatever happens."""
        if not self.in_transaction:
            return
        try:
            self._opened().execute("ROLLBACK")
        except sqlite3.Error:
            # Disconnecting rolls back too; `open` connects again.
            self.close()

    def close(self) -> None:
        """Disconnect; an open transaction is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


async def _ignoring_cancellation(future: asyncio.Future[Any]) -> None:
    try:
        await asyncio.wait({future})
    except asyncio.CancelledError:
        return
