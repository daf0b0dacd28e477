"""Migrations where definitions commit by themselves: a step at a time, each remembered.

A process that dies in the middle leaves steps that are done, and at most one of which nobody knows. The next process
goes on there: a definition that was begun and is in place was done; other statements commit together with the memory
of them.
"""

import asyncio
import hashlib
from collections.abc import Callable

import structlog

from services.runtime.backoff import jittered_seconds
from services.runtime.database.migration_lease import MigrationLease
from services.runtime.database.migration_modules import Migration
from services.runtime.database.port import AlreadyInPlaceError, Connection, Database
from services.runtime.errors import RefusedError, UnavailableError

_CREATE_STEPS = """
    CREATE TABLE IF NOT EXISTS schema_migration_steps (
        name VARCHAR(128) NOT NULL,
        statement_number INTEGER NOT NULL,
        checksum VARCHAR(64) NOT NULL,
        is_done BOOLEAN NOT NULL,
        PRIMARY KEY (name, statement_number)
    )
"""

_BEGUN, _DONE = False, True

_READ_STEPS = "SELECT statement_number, checksum, is_done FROM schema_migration_steps WHERE name = $1"

_ADD_STEP = """
    INSERT INTO schema_migration_steps (name, statement_number, checksum, is_done) VALUES ($1, $2, $3, $4)
    ON CONFLICT (name, statement_number) DO UPDATE SET is_done = EXCLUDED.is_done
"""

_FORGET_STEP = "DELETE FROM schema_migration_steps WHERE name = $1 AND statement_number = $2"

_DEFINITIONS = ("CREATE", "ALTER", "DROP")

logger = structlog.get_logger(__name__)

DEFINITION_SECONDS_MAX = 600.0
"""How long a definition is tried again whose table others use: an export, or a verification of a long book."""

RETRY_FIRST_SECONDS = 2.0
"""The longest wait before the second attempt. In between those work who waited behind the first one."""

RETRY_LONGEST_SECONDS = 15.0
"""What no wait exceeds."""


class StepRunner:
    """Runs the statements of migrations that aren't done yet, while its process holds the lease."""

    def __init__(
        self, database: Database, lease: MigrationLease, on_statement: Callable[[Migration, int], None]
    ) -> None:
        """Stand on a database; `on_statement` is told of each statement, by its number from 0, before it runs."""
        self._database = database
        self.lease = lease
        self._on_statement = on_statement

    async def prepare(self) -> None:
        """Make the table of the steps."""
        await self._alone(_CREATE_STEPS)

    async def run(self, migration: Migration) -> None:
        """Run a migration's statements.

        Raises:
            RefusedError: One that is done has changed since; reason `migration_changed`.
            UnavailableError: The database is away, or another process has taken over; what is done is remembered.
        """
        async with self._database.snapshot() as connection:
            rows = await connection.fetch(_READ_STEPS, migration.name)
        known = {number: (checksum, done) for number, checksum, done in rows}
        for number, statement in enumerate(migration.statements):
            checksum = hashlib.sha256(" ".join(statement.split()).encode()).hexdigest()
            known_checksum, done = known.get(number, (checksum, False))
            if known_checksum != checksum:
                raise RefusedError(
                    f"statement {number + 1} of migration {migration.name}, which was applied half, has changed since",
                    reason="migration_changed",
                )
            if not done:
                self._on_statement(migration, number)
                await self._step((migration.name, number, checksum), statement, begun=number in known)

    async def _step(self, key: tuple[str, int, str], statement: str, *, begun: bool) -> None:
        if not statement.lstrip().upper().startswith(_DEFINITIONS):
            async with self._database.transaction() as connection:
                await connection.execute(statement)
                await self._remember(connection, key, done=_DONE)
            return
        async with self._database.transaction() as connection:
            await self._remember(connection, key, done=_BEGUN)
        try:
            await self._define(key[0], statement)
        except UnavailableError:
            raise
        except Exception as error:
            if not (begun and isinstance(error, AlreadyInPlaceError)):
                # It is known not to have happened, so that it may be corrected.
                async with self._database.transaction() as connection:
                    await connection.execute(_FORGET_STEP, *key[:2])
                    await self.lease.fence(connection)
                raise
        async with self._database.transaction() as connection:
            await self._remember(connection, key, done=_DONE)

    async def _remember(self, connection: Connection, key: tuple[str, int, str], *, done: bool) -> None:
        await connection.execute(_ADD_STEP, *key, done)
        # Last, since it locks the row that says that this process lives.
        await self.lease.fence(connection)

    async def _define(self, name: str, statement: str) -> None:
        """Run a definition; while its table is in use for long, try again and again."""
        loop = asyncio.get_running_loop()
        until_seconds = loop.time() + DEFINITION_SECONDS_MAX
        attempt = 0
        while True:
            try:
                return await self._alone(statement)
            except UnavailableError as error:
                if error.reason != "database_busy" or loop.time() > until_seconds:
                    raise
                logger.warning("migration_waits_for_table", migration=name, error=error.message)
            await asyncio.sleep(
                jittered_seconds(attempt, first_seconds=RETRY_FIRST_SECONDS, longest_seconds=RETRY_LONGEST_SECONDS)
            )
            attempt += 1

    async def _alone(self, statement: str) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(statement)
