"""Who migrates: one process at a time, known by a row with a lease.

Its holder raises a number in the row again and again. Who wants the lease takes it over once that number stood still
for the lease's length by his own clock: no two clocks are compared. Each step is recorded together with a look at the
row, so that a holder that slept through its lease can record nothing.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog

from services.runtime.database.port import Connection, Database
from services.runtime.errors import UnavailableError
from services.runtime.ids import new_id

logger = structlog.get_logger(__name__)

LEASE_SECONDS = 15.0
"""After a holder that was killed the next one waits for so long: a migration is rare, a slow server isn't."""

BEATS_A_LEASE = 5
"""How often the number rises within the lease: some may fail, as while a server restarts."""

LOOK_SECONDS = 0.5
"""How often a process that waits looks: replicas that start together go on at once."""

PATIENCE_SECONDS = 600.0
"""How long to wait for another process's migrations; large tables take minutes to change."""

_CREATE = """
    CREATE TABLE IF NOT EXISTS schema_migration_lease (
        lease_id INTEGER NOT NULL PRIMARY KEY,
        holder VARCHAR(255) NOT NULL,
        beats BIGINT NOT NULL
    )
"""

# Begins with a lease that nobody holds.
_BEGIN = (
    "INSERT INTO schema_migration_lease (lease_id, holder, beats) VALUES (1, '', 0) ON CONFLICT (lease_id) DO NOTHING"
)

_READ = "SELECT holder, beats FROM schema_migration_lease WHERE lease_id = 1"

# Takes it from a holder whose number stood still, unless somebody else was faster.
_TAKE = """
    UPDATE schema_migration_lease SET holder = $1, beats = beats + 1
    WHERE lease_id = 1 AND holder = $2 AND beats = $3
"""

# Says that the holder lives; changes nothing once another one took it.
_BEAT = "UPDATE schema_migration_lease SET beats = beats + 1 WHERE lease_id = 1 AND holder = $1"

_RELEASE = "UPDATE schema_migration_lease SET holder = '', beats = beats + 1 WHERE lease_id = 1 AND holder = $1"

_NOBODY = ""

ResultT = TypeVar("ResultT")


class MigrationLease:
    """One process's claim to migrate a database."""

    def __init__(self, database: Database, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Hold nothing yet."""
        self._database = database
        self._lease_seconds = lease_seconds
        self._holder = f"{socket.gethostname()[:160]}:{os.getpid()}:{new_id()}"

    async def hold_while(self, job: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Run a job once the lease is held, and hold it meanwhile.

        Raises:
            UnavailableError: Another process migrates for too long, reason `migration_under_way`; or the lease was
                lost, reason `migration_lease_lost`.
        """
        for definition in (_CREATE, _BEGIN):
            async with self._database.transaction() as connection:
                await connection.execute(definition)
        try:
            await self._take()
            return await self._beating(job)
        finally:
            # Also when nobody knows whether it was taken.
            with suppress(UnavailableError):
                await self._write(_RELEASE, self._holder)

    async def fence(self, connection: Connection) -> None:
        """See in the transaction that records a step that the lease is still this process's; call it last.

        Raises:
            UnavailableError: It isn't; reason `migration_lease_lost`.
        """
        if not await connection.execute(_BEAT, self._holder):
            raise _lost()

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        began = still_since = loop.time()
        seen = ("", -1)
        while True:
            holder, beats = await self._read()
            if (holder, beats) != seen:
                seen, still_since = (holder, beats), loop.time()
            if holder == _NOBODY or loop.time() - still_since > self._lease_seconds:
                if await self._write(_TAKE, self._holder, holder, beats):
                    return
                continue
            if loop.time() - began > PATIENCE_SECONDS:
                raise UnavailableError(f"{holder} migrates this database", reason="migration_under_way")
            await asyncio.sleep(LOOK_SECONDS)

    async def _beating(self, job: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Run the job in a task of its own, because this one speaks up every few seconds."""
        task = asyncio.ensure_future(job())
        last = asyncio.get_running_loop().time()
        try:
            while True:
                await asyncio.wait({task}, timeout=self._lease_seconds / BEATS_A_LEASE)
                if task.done():
                    return task.result()
                last = await self._beat(last)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _beat(self, last: float) -> float:
        """Return when the holder was heard last."""
        now = asyncio.get_running_loop().time()
        try:
            if await self._write(_BEAT, self._holder):
                return now
        except UnavailableError as error:
            if now - last > self._lease_seconds / 2:
                raise
            logger.warning("migration_beat_failed", reason=error.reason)
            return last
        raise _lost()

    async def _read(self) -> tuple[str, int]:
        async with self._database.snapshot() as connection:
            ((holder, beats),) = await connection.fetch(_READ)
        return str(holder), int(beats)

    async def _write(self, sql: str, *arguments: object) -> int:
        async with self._database.transaction() as connection:
            return await connection.execute(sql, *arguments)


def _lost() -> UnavailableError:
    return UnavailableError(
        "another process has taken over the migrations of this database", reason="migration_lease_lost"
    )
