"""The open connections to one SQLite file: one that writes, and a few that read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from services.runtime.backoff import jittered_seconds
from services.runtime.database.port import PoolUsage
from services.runtime.database.sqlite_session import SqliteSession
from services.runtime.errors import UnavailableError

_BUSY_FIRST_SECONDS = 0.001
"""The first wait for another process's transaction, which is over in about a millisecond."""

_BUSY_LONGEST_SECONDS = 0.02
"""The longest: SQLite queues nobody, so that those who wait must look often to get their turn."""


class SqlitePool:
    """Sessions on one file. Tasks of this process take turns by locks, processes by SQLite's."""

    def __init__(self, path: Path, *, readers_max: int, busy_timeout_seconds: float) -> None:
        """Prepare a pool; sessions are opened when they are first needed.

        Args:
            path: The database's file; it is created when missing, its folder too.
            readers_max: How many sessions read at once.
            busy_timeout_seconds: How long to wait for a turn before `UnavailableError`.
        """
        self.path = path
        self.busy_timeout_seconds = busy_timeout_seconds
        self._threads = ThreadPoolExecutor(max_workers=1 + readers_max, thread_name_prefix=f"sqlite-{path.name}")
        # The writer never blocks the loop's thread: it tries, and sleeps as a task.
        self._writer = SqliteSession(path, self._threads, reads_only=False, busy_timeout_seconds=0)
        self._writer_turn = asyncio.Semaphore(1)
        self._readers_max = readers_max
        self._readers: list[SqliteSession] = []
        self._idle_readers: list[SqliteSession] = []
        self._reader_turns = asyncio.Semaphore(readers_max)
        self._waiting = {"write": 0, "read": 0}
        self._closed = False

    def usage(self) -> Mapping[str, PoolUsage]:
        """Tell how the sessions are used now."""
        writing, idle = int(self._writer_turn.locked()), len(self._idle_readers)
        return {
            "write": PoolUsage(lent=writing, idle=1 - writing, sessions_max=1, waiting=self._waiting["write"]),
            "read": PoolUsage(
                lent=len(self._readers) - idle,
                idle=idle,
                sessions_max=self._readers_max,
                waiting=self._waiting["read"],
            ),
        }

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[SqliteSession]:
        """Lend the session that writes, to one task at a time."""
        await self._take(self._writer_turn, "write")
        try:
            await self._retry_busy(self._writer.open)
            yield self._writer
        finally:
            self._writer_turn.release()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqliteSession]:
        """Lend a session that reads."""
        await self._take(self._reader_turns, "read")
        try:
            session = self._idle_readers.pop() if self._idle_readers else self._new_reader()
            try:
                await session.open()
                yield session
            finally:
                self._idle_readers.append(session)
        finally:
            self._reader_turns.release()

    async def begin_writing(self, session: SqliteSession) -> None:
        """Begin a transaction that writes, when those of other processes let it."""

        async def begin() -> None:
            session.run_now("BEGIN IMMEDIATE")

        await self._retry_busy(begin)

    async def _retry_busy(self, job: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self.busy_timeout_seconds
        attempt = 0
        while True:
            try:
                return await job()
            except UnavailableError as error:
                if error.reason != "database_busy" or loop.time() >= give_up_at:
                    raise
            await asyncio.sleep(
                jittered_seconds(attempt, first_seconds=_BUSY_FIRST_SECONDS, longest_seconds=_BUSY_LONGEST_SECONDS)
            )
            attempt += 1

    async def _take(self, turns: asyncio.Semaphore, purpose: str) -> None:
        if self._closed:
            raise UnavailableError("the database is closed", reason="database_closed")
        self._waiting[purpose] += 1
        try:
            async with asyncio.timeout(self.busy_timeout_seconds):
                await turns.acquire()
        except TimeoutError:
            raise UnavailableError("the database is busy: no turn in time", reason="database_busy") from None
        finally:
            self._waiting[purpose] -= 1

    def _new_reader(self) -> SqliteSession:
        session = SqliteSession(
            self.path, self._threads, reads_only=True, busy_timeout_seconds=self.busy_timeout_seconds
        )
        self._readers.append(session)
        return session

    async def close(self) -> None:
        """Close all sessions, once those who use them gave them back."""
        if self._closed:
            return
        self._closed = True
        await self._writer_turn.acquire()
        for _ in range(self._readers_max):
            await self._reader_turns.acquire()
        # Readers first: the last connection that closes folds the log into the database, and must be able to write.
        for session in (*self._readers, self._writer):
            session.close()
        self._threads.shutdown()
