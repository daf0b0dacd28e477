"""Tables that change with the code that reads them; see `migration_modules` for what a migration is."""

from collections.abc import Callable, Collection, Sequence

from services.runtime.clock import Clock, SystemClock, to_micros
from services.runtime.database.migration_lease import LEASE_SECONDS, MigrationLease
from services.runtime.database.migration_modules import PHASES, Migration, migrations_of
from services.runtime.database.migration_steps import StepRunner
from services.runtime.database.port import Connection, Database
from services.runtime.database.schema_state import (
    SchemaState,
    check_schema,
    read_schema_state,
    refuse_unusable,
    schema_state_on,
)
from services.runtime.errors import RefusedError

# What was applied, and what it was then. `checksum` is SHA-256 in hexadecimal.
_CREATE_APPLIED = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name VARCHAR(128) NOT NULL PRIMARY KEY,
        phase VARCHAR(8) NOT NULL,
        checksum VARCHAR(64) NOT NULL,
        applied_at BIGINT NOT NULL
    )
"""

# What code must hold to work on the result of a migration, where it isn't as its phase says.
_CREATE_COMPATIBILITY = """
    CREATE TABLE IF NOT EXISTS schema_compatibility (
        name VARCHAR(128) NOT NULL PRIMARY KEY,
        code_needs VARCHAR(128) NOT NULL
    )
"""

_RECORD = "INSERT INTO schema_migrations (name, phase, checksum, applied_at) VALUES ($1, $2, $3, $4)"

_RECORD_COMPATIBILITY = "INSERT INTO schema_compatibility (name, code_needs) VALUES ($1, $2)"

_PRE = PHASES[0]

OnStatement = Callable[[Migration, int], None]
"""Is told of each statement before it runs, by its migration and its number from 0."""


async def migrate(
    database: Database,
    package: str,
    *,
    phases: Collection[str] = PHASES,
    clock: Clock | None = None,
    on_statement: OnStatement = lambda _migration, _number: None,
    lease_seconds: float = LEASE_SECONDS,
) -> list[str]:
    """Apply what isn't applied yet, and return the names of what was.

    All or nothing where definitions are transactional; else step by step, and who comes after a crash goes on where it
    happened. Two that start at once are safe: one waits for the other and then finds nothing to do. Migrations that
    newer code applied are fine where this code can ignore them.

    Raises:
        RefusedError: An applied migration has changed since, or the database is too new, see `refuse_unusable`; or one
            is to take away while additions before it are pending, reason `migrations_pending`.
        UnavailableError: The database is away, or another process migrates it for too long.
    """
    clock, migrations = clock or SystemClock(), migrations_of(package)
    if not _due(await read_schema_state(database, migrations), phases):
        return []
    if not database.definitions_commit:
        return await _apply_at_once(database, migrations, phases, clock, on_statement)
    lease = MigrationLease(database, lease_seconds=lease_seconds)
    runner = StepRunner(database, lease, on_statement)
    return await lease.hold_while(lambda: _apply_stepwise(database, migrations, phases, clock, runner))


async def prepare_schema(
    database: Database, package: str, *, service: str, migrate_on_start: bool, clock: Clock | None = None
) -> None:
    """Bring a database up to date for a service that starts, or see that it is, where others do that.

    Raises:
        RefusedError: The service can't work on it; see `check_schema`.
    """
    if migrate_on_start:
        await migrate(database, package, clock=clock)
    await check_schema(database, package, service=service)


def _due(state: SchemaState, phases: Collection[str]) -> list[Migration]:
    refuse_unusable(state)
    due = state.pending_in(phases)
    _refuse_removals_too_early(state.pending, due)
    return due


def _refuse_removals_too_early(pending: Sequence[Migration], due: Sequence[Migration]) -> None:
    """Refuse to take away what an addition before it, that isn't applied, may still have to read."""
    earlier: list[str] = []
    for migration in pending:
        if migration.phase == _PRE and migration not in due:
            earlier.append(migration.name)
        elif migration.phase != _PRE and migration in due and earlier:
            raise RefusedError(
                f"{migration.name} takes away, and {', '.join(earlier)} before it isn't applied; apply phase pre first",
                reason="migrations_pending",
            )


async def _apply_at_once(
    database: Database,
    migrations: Sequence[Migration],
    phases: Collection[str],
    clock: Clock,
    on_statement: OnStatement,
) -> list[str]:
    async with database.transaction() as connection:
        # Looked at again: now nobody else writes.
        due = _due(await schema_state_on(connection, migrations), phases)
        await _create_tables(connection)
        for migration in due:
            for number, statement in enumerate(migration.statements):
                on_statement(migration, number)
                await connection.execute(statement)
            await _record(connection, migration, clock)
    return [migration.name for migration in due]


async def _apply_stepwise(
    database: Database, migrations: Sequence[Migration], phases: Collection[str], clock: Clock, runner: StepRunner
) -> list[str]:
    # Looked at again: now nobody else migrates.
    due = _due(await read_schema_state(database, migrations), phases)
    async with database.transaction() as connection:
        await _create_tables(connection)
    await runner.prepare()
    for migration in due:
        await runner.run(migration)
        async with database.transaction() as connection:
            await _record(connection, migration, clock)
            await runner.lease.fence(connection)
    return [migration.name for migration in due]


async def _create_tables(connection: Connection) -> None:
    await connection.execute(_CREATE_APPLIED)
    await connection.execute(_CREATE_COMPATIBILITY)


async def _record(connection: Connection, migration: Migration, clock: Clock) -> None:
    now_micros = to_micros(clock.now())
    await connection.execute(_RECORD, migration.name, migration.phase, migration.checksum, now_micros)
    if migration.code_needs:
        await connection.execute(_RECORD_COMPATIBILITY, migration.name, migration.code_needs)
