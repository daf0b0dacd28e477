"""A transaction of SQLite, for hand-written statements and for Piccolo's queries at once."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from piccolo.engine.sqlite import SQLiteEngine, SQLiteTransaction

from services.runtime.database import dialect
from services.runtime.database.sqlite_pool import SqlitePool
from services.runtime.database.sqlite_session import Result, SqliteSession
from services.runtime.errors import UnavailableError


class SqliteTransaction(SQLiteTransaction):
    """Piccolo's transaction on a session of the pool.

    With a parent it is the parent: what Piccolo does with a transaction inside a transaction.
    """

    _parent: "SqliteTransaction | None"

    __slots__ = ("_borrowed", "_owner", "_pool", "_reads_only", "_session", "_wrote")

    def __init__(
        self,
        engine: SQLiteEngine,
        pool: SqlitePool,
        *,
        parent: "SqliteTransaction | None",
        reads_only: bool = False,
    ) -> None:
        """Prepare a transaction; entering it takes a session and begins."""
        self.engine = engine
        self._parent = parent
        self._savepoint_id = 0
        self._committed = False
        self._rolled_back = False
        self._pool = pool
        self._reads_only = reads_only
        self._borrowed = AsyncExitStack()
        self._session: SqliteSession | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._wrote = False

    @property
    def is_current(self) -> bool:
        """Tell whether it is under way in the current task."""
        return self._session is not None and self._owner is asyncio.current_task()

    @property
    def connection(self) -> Self:
        """What Piccolo calls the connection: whatever runs statements."""
        return self

    async def __aenter__(self) -> "SqliteTransaction":  # noqa: PYI034 - the parent is of this very class
        if self._parent is not None:
            return self._parent
        try:
            if self._reads_only:
                session = await self._borrowed.enter_async_context(self._pool.reading())
                session.run_now("BEGIN DEFERRED")
            else:
                session = await self._borrowed.enter_async_context(self._pool.writing())
                await self._pool.begin_writing(session)
        except BaseException:
            await self._borrowed.aclose()
            raise
        self._session, self._owner = session, asyncio.current_task()
        self.engine.current_transaction.set(self)
        return self

    async def run(self, sql: str, arguments: Sequence[object] = ()) -> Result:
        """Run one statement of SQLite's own dialect."""
        session = self._usable_session()
        self._wrote = self._wrote or not dialect.reads_only(sql)
        return await session.run(sql, arguments)

    async def run_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement of SQLite's own dialect once for each row of arguments."""
        session = self._usable_session()
        self._wrote = True
        await session.run_many(sql, rows)

    async def execute(self, sql: str) -> Result:
        """Run a statement of Piccolo's savepoints."""
        return await self.run(sql)

    def _usable_session(self) -> SqliteSession:
        if self._session is None:
            raise RuntimeError("the transaction has ended; its connection can't be used any more")
        if not self._session.in_transaction:
            # SQLite does so by itself when the disk is full, for one. What ran now would be committed alone.
            raise UnavailableError("the transaction was rolled back", reason="transaction_rolled_back")
        return self._session

    async def commit(self) -> None:
        """Make everything durable; nothing can follow in this transaction."""
        session = self._usable_session()
        if self._wrote:
            await session.run_in_thread("COMMIT")
        else:
            await session.run("COMMIT")
        self._committed = True

    async def rollback(self) -> None:
        """Undo everything; nothing can follow in this transaction."""
        if self._session is not None:
            self._session.rollback()
        self._rolled_back = True

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._parent is not None:
            return False
        try:
            if exception is None and not self._committed and not self._rolled_back:
                await self.commit()
        finally:
            # Whatever happened, the session goes back without a transaction on it.
            await self.rollback()
            self._session = None
            self.engine.current_transaction.set(None)
            await self._borrowed.aclose()
        return False
