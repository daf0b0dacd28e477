"""What `migrate` does on every database."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.runtime.database.migration_modules import migrations_of
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Database, Row
from services.runtime.database.schema_state import check_schema, read_schema_state
from services.runtime.database_opening import open_database
from services.runtime.errors import RefusedError, UnavailableError
from tests.support.faulty_database import AFTER_COMMIT, BEFORE_COMMIT, Fault, FaultyDatabase

PACKAGE = "migrations_of_a_test"

LEASE_SECONDS = 0.5
"""What a test waits for after a crash that left the lease behind."""


class Package:
    """A package of migrations that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "__init__.py").write_text("")

    def write(self, name: str, *statements: str, phase: str = "pre", code_needs: str = "") -> None:
        lines = [f"PHASE = {phase!r}", f"STATEMENTS = {statements!r}"]
        if code_needs:
            lines.append(f"CODE_NEEDS = {code_needs!r}")
        (self.folder / f"{name}.py").write_text("\n".join(lines))
        forget_modules()

    def forget(self, name: str) -> None:
        """Go back to code that doesn't hold a migration."""
        (self.folder / f"{name}.py").unlink()
        forget_modules()


def forget_modules() -> None:
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Package(tmp_path / PACKAGE)
    forget_modules()


@pytest.fixture
def database_url(engine_url: str) -> str:
    return engine_url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.close()


async def test_migrations_run_once_and_in_the_order_of_their_names(database: Database, package: Package) -> None:
    package.write("m0002_rows", "INSERT INTO things (name) VALUES ('apple')")
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64) NOT NULL PRIMARY KEY)")

    assert await migrate(database, PACKAGE) == ["m0001_tables", "m0002_rows"]
    assert await migrate(database, PACKAGE) == []

    async with database.snapshot() as connection:
        assert await connection.fetch("SELECT name FROM things") == [("apple",)]
        assert await connection.fetch("SELECT name, phase FROM schema_migrations ORDER BY name") == [
            ("m0001_tables", "pre"),
            ("m0002_rows", "pre"),
        ]


async def test_a_later_migration_is_applied_alone(database: Database, package: Package) -> None:
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64))")
    await migrate(database, PACKAGE)
    package.write("m0002_more", "CREATE TABLE more (name VARCHAR(64))")

    assert await migrate(database, PACKAGE) == ["m0002_more"]


async def test_a_migration_that_changed_after_it_was_applied_is_refused(database: Database, package: Package) -> None:
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64))")
    await migrate(database, PACKAGE)
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(65))")
    package.write("m0002_more", "CREATE TABLE more (name VARCHAR(64))")

    with pytest.raises(RefusedError, match="m0001_tables") as raised:
        await migrate(database, PACKAGE)

    assert raised.value.reason == "migration_changed"
    async with database.snapshot() as connection:
        assert await connection.fetch("SELECT name FROM schema_migrations") == [("m0001_tables",)]


async def test_laying_out_the_text_differently_is_no_change(database: Database, package: Package) -> None:
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64))")
    await migrate(database, PACKAGE)
    package.write("m0001_tables", "CREATE TABLE\n    things (name VARCHAR(64))\n")

    assert await migrate(database, PACKAGE) == []


async def test_a_migration_that_newer_code_applied_is_fine(database: Database, package: Package) -> None:
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64))")
    package.write("m0002_more", "CREATE TABLE more (name VARCHAR(64))")
    await migrate(database, PACKAGE)
    (package.folder / "m0002_more.py").unlink()

    assert await migrate(database, PACKAGE) == []


async def test_the_two_phases_can_run_apart(database: Database, package: Package) -> None:
    package.write("m0001_add", "CREATE TABLE things (name VARCHAR(64))")
    package.write("m0002_remove", "DROP TABLE things", phase="post")

    assert await migrate(database, PACKAGE, phases=["pre"]) == ["m0001_add"]
    assert await migrate(database, PACKAGE, phases=["post"]) == ["m0002_remove"]


async def test_nothing_is_taken_away_before_what_an_earlier_addition_needs(
    database: Database, package: Package
) -> None:
    package.write("m0001_add", "CREATE TABLE things (thing_id BIGINT NOT NULL PRIMARY KEY)")
    await migrate(database, PACKAGE)
    package.write("m0002_more", "UPDATE things SET thing_id = thing_id + 1")
    package.write("m0003_less", "DROP TABLE things", phase="post")

    with pytest.raises(RefusedError, match="m0003_less takes away, and m0002_more before it") as refused:
        await migrate(database, PACKAGE, phases=["post"])

    assert refused.value.reason == "migrations_pending"
    assert await migrate(database, PACKAGE, phases=["pre"]) == ["m0002_more"]
    assert await migrate(database, PACKAGE, phases=["post"]) == ["m0003_less"]


async def test_an_addition_after_a_removal_does_not_wait_for_it(database: Database, package: Package) -> None:
    package.write("m0001_add", "CREATE TABLE things (thing_id BIGINT NOT NULL PRIMARY KEY)")
    package.write("m0002_less", "DROP TABLE things", phase="post")
    package.write("m0003_more", "CREATE TABLE more (thing_id BIGINT NOT NULL PRIMARY KEY)")

    assert await migrate(database, PACKAGE, phases=["pre"]) == ["m0001_add", "m0003_more"]
    assert await migrate(database, PACKAGE, phases=["post"]) == ["m0002_less"]


async def test_a_phase_that_does_not_exist_is_refused(database: Database, package: Package) -> None:
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64))", phase="during")

    with pytest.raises(ValueError, match="during"):
        await migrate(database, PACKAGE)


async def test_two_that_start_at_once_apply_each_migration_once(
    database_url: str, database: Database, package: Package
) -> None:
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64))")
    package.write("m0002_rows", "INSERT INTO things (name) VALUES ('apple')")
    other = open_database(database_url)

    applied = await asyncio.gather(migrate(database, PACKAGE), migrate(other, PACKAGE))

    await other.close()
    assert sorted(applied) == [[], ["m0001_tables", "m0002_rows"]]
    async with database.snapshot() as connection:
        assert await connection.fetch("SELECT name FROM things") == [("apple",)]


TABLE = "CREATE TABLE things (name VARCHAR(64) NOT NULL PRIMARY KEY)"
INDEX = "CREATE INDEX things_by_name ON things (name)"
APPLE = "INSERT INTO things (name) VALUES ('apple')"


async def rows_of(database: Database, sql: str) -> list[Row]:
    async with database.snapshot() as connection:
        return await connection.fetch(sql)


async def test_a_migration_that_fails_is_gone_on_with_once_it_is_corrected(
    database: Database, package: Package
) -> None:
    package.write("m0001_tables", TABLE, APPLE, "CREATE TABLE things (name VARCHAR(64))")

    with pytest.raises(Exception, match="already exists"):
        await migrate(database, PACKAGE)

    package.write("m0001_tables", TABLE, APPLE, INDEX)
    assert await migrate(database, PACKAGE) == ["m0001_tables"]
    assert await rows_of(database, "SELECT name FROM things") == [("apple",)]


@pytest.mark.parametrize("moment", [BEFORE_COMMIT, AFTER_COMMIT])
async def test_a_crash_at_any_moment_is_gone_on_from(database: Database, package: Package, moment: int) -> None:
    package.write("m0001_tables", TABLE, APPLE, INDEX)
    package.write("m0002_more", "ALTER TABLE things ADD COLUMN kind VARCHAR(8)", "UPDATE things SET kind = 'fruit'")
    faulty = FaultyDatabase(database)
    crashes = 0

    while not faulty.faults:
        await _forget_everything(database)
        faulty.faults = [*[None] * crashes, Fault(moment)]
        with suppress(UnavailableError):
            await migrate(faulty, PACKAGE, lease_seconds=LEASE_SECONDS)
        await migrate(database, PACKAGE, lease_seconds=LEASE_SECONDS)
        assert await rows_of(database, "SELECT name, kind FROM things") == [("apple", "fruit")]
        crashes += 1

    assert crashes > (15 if database.definitions_commit else 1)


async def _forget_everything(database: Database) -> None:
    for table in (
        "things",
        "schema_migrations",
        "schema_compatibility",
        "schema_migration_steps",
        "schema_migration_lease",
    ):
        async with database.transaction() as connection:
            await connection.execute(f"DROP TABLE IF EXISTS {table}")


async def test_a_statement_that_was_applied_and_changed_is_refused(database: Database, package: Package) -> None:
    package.write("m0001_tables", TABLE, APPLE, "SELEKT 1")
    with pytest.raises(Exception, match=r"(?i)selekt|syntax"):
        await migrate(database, PACKAGE)
    package.write("m0001_tables", TABLE.replace("64", "65"), APPLE)

    if not database.definitions_commit:
        assert await migrate(database, PACKAGE) == ["m0001_tables"]
        return
    with pytest.raises(RefusedError, match="statement 1 of migration m0001_tables"):
        await migrate(database, PACKAGE)


@pytest.mark.parametrize("service", ["ledger", "orders"])
async def test_the_migrations_of_a_service_are_applied_once(database_url: str, service: str) -> None:
    database, other = open_database(database_url), open_database(database_url)

    applied = await asyncio.gather(*(migrate(each, f"services.{service}.migrations") for each in (database, other)))
    again = await migrate(database, f"services.{service}.migrations")

    await asyncio.gather(database.close(), other.close())
    assert sorted(map(bool, applied)) == [False, True]
    assert again == []


async def refusal_of(database: Database) -> str:
    """Tell why a service of this code can't start."""
    with pytest.raises(RefusedError) as raised:
        await check_schema(database, PACKAGE, service="ledger")
    return f"{raised.value.reason}: {raised.value.message}"


async def test_a_service_starts_on_pending_removals_and_not_on_pending_additions(
    database: Database, package: Package
) -> None:
    package.write("m0001_tables", TABLE)
    package.write("m0002_more", "CREATE TABLE more (name VARCHAR(64))")
    package.write("m0003_less", "DROP TABLE more", phase="post")
    untouched = await refusal_of(database)
    await migrate(database, PACKAGE, phases=["pre"])

    await check_schema(database, PACKAGE, service="ledger")

    assert untouched.startswith("migrations_pending: the database lacks m0001_tables, m0002_more; run: ")
    assert "tradeflow migrate apply --service ledger --phase pre" in untouched
    state = await read_schema_state(database, migrations_of(PACKAGE))
    assert [migration.name for migration in state.pending] == ["m0003_less"]


async def test_older_code_works_on_additions_and_refuses_removals(database: Database, package: Package) -> None:
    package.write("m0001_tables", TABLE)
    package.write("m0002_more", "CREATE TABLE more (name VARCHAR(64))")
    package.write("m0003_less", "DROP TABLE more", phase="post")
    await migrate(database, PACKAGE, phases=["pre"])
    package.forget("m0003_less")
    package.forget("m0002_more")
    await check_schema(database, PACKAGE, service="ledger")
    package.write("m0002_more", "CREATE TABLE more (name VARCHAR(64))")
    package.write("m0003_less", "DROP TABLE more", phase="post")
    await migrate(database, PACKAGE)
    package.forget("m0003_less")

    assert (await refusal_of(database)).startswith("database_newer: the database is newer than this code bears: m0003")
    with pytest.raises(RefusedError, match="m0003_less"):
        await migrate(database, PACKAGE)


async def test_a_removal_says_which_code_no_longer_uses_what_goes(database: Database, package: Package) -> None:
    package.write("m0001_tables", TABLE, "CREATE TABLE more (name VARCHAR(64))")
    package.write("m0002_unused", "CREATE TABLE instead (name VARCHAR(64))")
    package.write("m0003_less", "DROP TABLE more", phase="post", code_needs="m0002_unused")
    await migrate(database, PACKAGE)
    package.forget("m0003_less")
    await check_schema(database, PACKAGE, service="ledger")
    package.forget("m0002_unused")

    assert (await refusal_of(database)).startswith("database_newer")


@pytest.mark.parametrize(
    ("phase", "code_needs"), [("pre", "m0001_tables"), ("post", "m0009_nothing"), ("post", "m0003_later")]
)
async def test_a_need_of_code_that_makes_no_sense_is_refused(package: Package, phase: str, code_needs: str) -> None:
    package.write("m0001_tables", TABLE)
    package.write("m0002_less", "DROP TABLE things", phase=phase, code_needs=code_needs)
    package.write("m0003_later", TABLE)

    with pytest.raises(ValueError, match="CODE_NEEDS"):
        migrations_of(PACKAGE)


async def test_each_statement_is_told_before_it_runs(database: Database, package: Package) -> None:
    package.write("m0001_tables", TABLE, APPLE)
    package.write("m0002_more", INDEX)
    told: list[tuple[str, int]] = []

    await migrate(database, PACKAGE, on_statement=lambda migration, number: told.append((migration.name, number)))

    assert told == [("m0001_tables", 0), ("m0001_tables", 1), ("m0002_more", 0)]


async def test_what_an_interrupted_migration_has_done_is_shown(database: Database, package: Package) -> None:
    package.write("m0001_tables", TABLE, APPLE, "SELEKT 1")
    with pytest.raises(Exception, match=r"(?i)selekt|syntax"):
        await migrate(database, PACKAGE)

    state = await read_schema_state(database, migrations_of(PACKAGE))

    assert state.steps_done == ({"m0001_tables": {0, 1}} if database.definitions_commit else {})
    assert state.migrating == ""


async def test_a_column_is_added_and_an_index_dropped_while_others_read(database: Database, package: Package) -> None:
    """A snapshot may be told to begin again, and nothing else."""
    package.write("m0001_tables", TABLE, APPLE, INDEX)
    await migrate(database, PACKAGE)
    package.write("m0002_more", "ALTER TABLE things ADD COLUMN kind VARCHAR(8)", "DROP INDEX things_by_name ON things")
    done = asyncio.Event()
    reads = 0

    async def read_on() -> None:
        nonlocal reads
        while not done.is_set() or not reads:
            try:
                assert await rows_of(database, "SELECT name FROM things") == [("apple",)]
            except UnavailableError as error:
                assert error.reason == "database_busy"  # noqa: PT017 - the other reasons are failures here
            reads += 1
            await asyncio.sleep(0)

    reading = [asyncio.create_task(read_on()) for _ in range(3)]
    await migrate(database, PACKAGE)
    done.set()
    await asyncio.gather(*reading)

    assert await rows_of(database, "SELECT name, kind FROM things") == [("apple", None)]


async def test_who_reads_a_table_for_long_keeps_a_definition_waiting_and_nobody_else(
    database: Database, database_url: str, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On MySQL and MariaDB whoever comes after a definition that waits for its table waits behind it."""
    monkeypatch.setattr("services.runtime.mysql.transaction.DEFINITION_LOCK_SECONDS", 1)
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64) NOT NULL PRIMARY KEY)")
    await migrate(database, PACKAGE)
    package.write("m0002_colours", "ALTER TABLE things ADD COLUMN colour VARCHAR(64)")
    migrator = open_database(database_url)
    longest_seconds = 0.0
    async with asyncio.timeout(60), database.snapshot() as reading:
        await reading.fetch("SELECT name FROM things")
        migrating = asyncio.create_task(migrate(migrator, PACKAGE))
        for number in range(30):
            await asyncio.sleep(0.2)
            began_at_seconds = time.monotonic()
            await asyncio.create_task(insert_thing(database, f"thing-{number}"))
            longest_seconds = max(longest_seconds, time.monotonic() - began_at_seconds)
    applied = await migrating
    await migrator.close()

    assert applied == ["m0002_colours"]
    assert longest_seconds < 4


async def insert_thing(database: Database, name: str) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO things (name) VALUES ($1)", name)
