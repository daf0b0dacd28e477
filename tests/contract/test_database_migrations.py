"""What `migrate` does on every database."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.runtime.database.migrations import migrate
from services.runtime.database.opening import open_database
from services.runtime.database.port import Database
from services.runtime.errors import RefusedError

PACKAGE = "migrations_of_a_test"


class Package:
    """A package of migrations that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "__init__.py").write_text("")

    def write(self, name: str, *statements: str, phase: str = "pre") -> None:
        (self.folder / f"{name}.py").write_text(f"PHASE = {phase!r}\nSTATEMENTS = {statements!r}\n")
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


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"sqlite": f"sqlite:///{tmp_path}/things.db"}[request.param]


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


async def test_a_migration_that_fails_leaves_nothing_where_ddl_is_transactional(
    database: Database, package: Package
) -> None:
    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64))", "CREATE TABLE things (name VARCHAR(64))")

    with pytest.raises(Exception, match="already exists"):
        await migrate(database, PACKAGE)

    package.write("m0001_tables", "CREATE TABLE things (name VARCHAR(64))")
    assert await migrate(database, PACKAGE) == ["m0001_tables"]
