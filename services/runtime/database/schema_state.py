"""Where a database stands, compared with the code that looks at it. Reads only."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.runtime.database.migration_modules import PHASES, Migration, migrations_of
from services.runtime.database.port import Connection, Database, NotGrantedError, Row, TableMissingError
from services.runtime.errors import RefusedError, UnavailableError

# What was applied, and what it was then.
_READ_APPLIED = "SELECT name, phase, checksum, applied_at FROM schema_migrations ORDER BY name"

# What code must hold to work on the result of a migration, where it isn't as the phase says.
_READ_COMPATIBILITY = "SELECT name, code_needs FROM schema_compatibility"

# What is done of migrations that were interrupted.
_READ_STEPS = "SELECT name, statement_number FROM schema_migration_steps WHERE is_done = TRUE"

# Who migrates now, or nobody.
_READ_LEASE = "SELECT holder FROM schema_migration_lease WHERE lease_id = 1"

_LOOKS_MAX = 5
"""How often to look again at tables that others make or change meanwhile; there are four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedMigration:
    """A migration as the database remembers it."""

    name: str
    phase: str
    checksum: str
    applied_at: int
    """Microseconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """A database's migrations, and the code's."""

    applied: tuple[AppliedMigration, ...] = ()
    pending: tuple[Migration, ...] = ()
    """In the order in which they would run."""
    changed: tuple[str, ...] = ()
    """Applied, and something else in the code now."""
    newer: tuple[str, ...] = ()
    """Applied by newer code, and this code works on them."""
    too_new: tuple[str, ...] = ()
    """Applied by newer code, and this code doesn't."""
    steps_done: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Of pending migrations that were interrupted: the numbers, from 0, of the statements that are done."""
    migrating: str = ""
    """Who runs migrations now."""

    def pending_in(self, phases: Collection[str]) -> list[Migration]:
        """Pick what one phase has to do."""
        return [migration for migration in self.pending if migration.phase in phases]


async def read_schema_state(database: Database, migrations: Sequence[Migration]) -> SchemaState:
    """Compare a database with the code.

    Raises:
        RefusedError: The user may not look; reason `grants_missing`.
    """
    for _ in range(_LOOKS_MAX - 1):
        try:
            async with database.snapshot() as connection:
                return await schema_state_on(connection, migrations)
        except UnavailableError as error:
            # A table that somebody makes just now can't be read by a snapshot that began before.
            if error.reason != "database_busy":
                raise
    async with database.snapshot() as connection:
        return await schema_state_on(connection, migrations)


async def schema_state_on(connection: Connection, migrations: Sequence[Migration]) -> SchemaState:
    """Do so on a connection; see `read_schema_state`."""
    rows = await _rows(connection, _READ_APPLIED)
    applied = [AppliedMigration(name=name, phase=phase, checksum=sum_, applied_at=at) for name, phase, sum_, at in rows]
    needs = {str(name): str(code) for name, code in await _rows(connection, _READ_COMPATIBILITY)}
    state = schema_state_of(migrations, applied, needs)
    if not state.pending:
        return state
    # What only those who migrate see; a service's own user needn't.
    steps = await _rows(connection, _READ_STEPS, optional=True)
    holders = await _rows(connection, _READ_LEASE, optional=True)
    done = {each.name: frozenset(number for name, number in steps if name == each.name) for each in state.pending}
    return replace(
        state,
        steps_done={name: numbers for name, numbers in done.items() if numbers},
        migrating=str(holders[0][0]) if holders else "",
    )


def schema_state_of(
    migrations: Sequence[Migration], applied: Sequence[AppliedMigration], needs: Mapping[str, str]
) -> SchemaState:
    """Compare what was applied, and what code it needs where that was said, with what the code has."""
    known = {migration.name: migration for migration in migrations}
    names = {each.name for each in applied}
    unknown = [each for each in applied if each.name not in known]
    too_new = [each.name for each in unknown if each.phase != "pre" and needs.get(each.name) not in known]
    return SchemaState(
        applied=tuple(applied),
        pending=tuple(migration for migration in migrations if migration.name not in names),
        changed=tuple(
            each.name for each in applied if each.name in known and known[each.name].checksum != each.checksum
        ),
        newer=tuple(each.name for each in unknown if each.name not in too_new),
        too_new=tuple(too_new),
    )


def refuse_unusable(state: SchemaState) -> None:
    """Refuse a database that this code neither works on nor may change.

    Raises:
        RefusedError: An applied migration has changed since, reason `migration_changed`; or newer code applied one that
            this code can't live with, reason `database_newer`.
    """
    if state.changed:
        raise RefusedError(
            f"migration {state.changed[0]} was applied and has changed since; put it back and write the next one, "
            "unless this is another service's database",
            reason="migration_changed",
        )
    if state.too_new:
        raise RefusedError(
            f"the database is newer than this code bears: {', '.join(state.too_new)} took away what it may use; "
            "run a newer release",
            reason="database_newer",
        )


async def check_schema(database: Database, package: str, *, service: str) -> None:
    """Check that a service of this code can work on a database: for its start, and for its readiness.

    Pending post migrations are fine, and so is a newer database whose additions this code may ignore.

    Raises:
        RefusedError: It can't, with the command that helps; reasons `migrations_pending`, and those of
            `refuse_unusable` and `read_schema_state`.
    """
    state = await read_schema_state(database, migrations_of(package))
    refuse_unusable(state)
    if pending := state.pending_in(PHASES[:1]):
        names = ", ".join(migration.name for migration in pending)
        raise RefusedError(
            f"the database lacks {names}; run: tradeflow migrate apply --service {service} --phase pre",
            reason="migrations_pending",
        )


async def _rows(connection: Connection, sql: str, *, optional: bool = False) -> list[Row]:
    """Read what may not be there yet; `optional` is what a service's own user needn't see."""
    try:
        return await connection.fetch(sql)
    except TableMissingError:
        return []
    except NotGrantedError as error:
        if optional:
            return []
        raise RefusedError(
            f"the database's user may not look at its migrations: {error}; see `tradeflow grants --help`",
            reason="grants_missing",
        ) from error
