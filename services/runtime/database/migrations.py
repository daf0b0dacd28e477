"""Tables that change with the code that reads them.

A package holds modules `m0001_name.py`, each with `PHASE`, "pre" (before the new code runs; what old code bears too) or
"post" (once no old code runs any more), and `STATEMENTS`. An applied migration never changes: a correction is the next.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from services.runtime.clock import Clock, SystemClock, to_micros
from services.runtime.database.port import Connection, Database
from services.runtime.errors import RefusedError

PHASES = ("pre", "post")
"""Both, in the order of a deployment."""

_MODULE_NAME = re.compile(r"m\d{4}_\w+")

# What was applied, and what it was then. `checksum` is SHA-256 in hexadecimal.
_CREATE_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name VARCHAR(128) NOT NULL PRIMARY KEY,
        phase VARCHAR(8) NOT NULL,
        checksum VARCHAR(64) NOT NULL,
        applied_at BIGINT NOT NULL
    )
"""

_READ_APPLIED = "SELECT name, checksum FROM schema_migrations"

_RECORD = "INSERT INTO schema_migrations (name, phase, checksum, applied_at) VALUES ($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step."""

    name: str
    phase: str
    statements: tuple[str, ...]

    @property
    def checksum(self) -> str:
        """What the step does, in 64 characters; how its text is laid out doesn't matter."""
        words = "\0".join(" ".join(statement.split()) for statement in self.statements)
        return hashlib.sha256(f"{self.phase}\0{words}".encode()).hexdigest()


def migrations_of(package: str) -> list[Migration]:
    """Read the migrations of a package, in the order of their names."""
    names = sorted(
        module.name for module in iter_modules(import_module(package).__path__) if _MODULE_NAME.fullmatch(module.name)
    )
    return [_migration(package, name) for name in names]


def _migration(package: str, name: str) -> Migration:
    module = import_module(f"{package}.{name}")
    if module.PHASE not in PHASES:
        raise ValueError(f"{package}.{name}: PHASE is {module.PHASE!r}, and must be one of {PHASES}")
    return Migration(name=name, phase=module.PHASE, statements=tuple(module.STATEMENTS))


async def migrate(
    database: Database, package: str, *, phases: Collection[str] = PHASES, clock: Clock | None = None
) -> list[str]:
    """Apply what isn't applied yet, and return the names of what was.

    All or nothing where the engine's DDL is transactional. Two that start at once are safe: one waits for the other and
    then finds nothing to do. Applied migrations that the package doesn't hold are those of newer code, and are fine.

    Raises:
        RefusedError: An applied migration has changed since; reason `migration_changed`.
    """
    now_micros = to_micros((clock or SystemClock()).now())
    migrations = migrations_of(package)
    async with database.transaction() as connection:
        await connection.execute(_CREATE_TABLE)
        applied = {str(name): str(checksum) for name, checksum in await connection.fetch(_READ_APPLIED)}
        _refuse_changed(migrations, applied)
        due = [migration for migration in migrations if migration.name not in applied and migration.phase in phases]
        for migration in due:
            await _apply(connection, migration, now_micros)
    return [migration.name for migration in due]


def _refuse_changed(migrations: list[Migration], applied: dict[str, str]) -> None:
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise RefusedError(
                f"migration {migration.name} was applied and has changed since; put it back and write the next one",
                reason="migration_changed",
            )


async def _apply(connection: Connection, migration: Migration, now_micros: int) -> None:
    for statement in migration.statements:
        await connection.execute(statement)
    await connection.execute(_RECORD, migration.name, migration.phase, migration.checksum, now_micros)
