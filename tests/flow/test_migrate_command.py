"""`tradeflow migrate` and `grants`, as somebody calls them from a shell."""

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.embedded.cli import app
from services.embedded.commands.exit_codes import OK, PENDING, TOO_NEW, USAGE, VIOLATED
from services.runtime.database.migration_modules import migrations_of
from services.runtime.database_opening import open_database
from tests.parts.sql_servers import administrator
from tests.support.platform import REPOSITORY, command

PACKAGE = "services.ledger.migrations"

WIDE = {"COLUMNS": "120", "NO_COLOR": "1"}
"""A terminal that breaks no words."""

NAMES = [migration.name for migration in migrations_of(PACKAGE)]


def call(*words: str, **environment: str) -> Result:
    """Call `tradeflow` in this process, in a thread, since it runs an event loop of its own."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(CliRunner().invoke, app, words, env={**WIDE, **environment}).result()


def migrate(*words: str, url: str) -> Result:
    return call("migrate", *words, "--service", "ledger", TRADEFLOW_LEDGER_DATABASE_URL=url)


async def execute(url: str, *statements: str) -> None:
    database = open_database(url)
    for statement in statements:
        async with database.transaction() as connection:
            await connection.execute(statement)
    await database.close()


async def tables_in(url: str) -> int:
    database = open_database(url)
    catalog = "information_schema.tables WHERE table_schema = DATABASE()"
    async with database.snapshot() as connection:
        ((count,),) = await connection.fetch(f"SELECT COUNT(*) FROM {catalog}")  # noqa: S608 - a constant
    await database.close()
    return int(count)


def test_a_database_goes_from_empty_to_up_to_date(engine_url: str) -> None:
    empty = migrate("status", url=engine_url)
    applied = migrate("apply", "--phase", "pre", url=engine_url)
    again = migrate("apply", url=engine_url)
    after = migrate("status", "--json", url=engine_url)

    assert empty.exit_code == PENDING
    assert f"pending: {len(NAMES)} pre, 0 post" in empty.stdout
    assert applied.exit_code == OK
    assert applied.stdout.split() == [word for name in NAMES for word in ("applied", name)]
    assert f"{NAMES[0]} 1/" in applied.stderr
    assert (again.exit_code, again.stdout) == (OK, "nothing to do\n")
    assert after.exit_code == OK
    told = json.loads(after.stdout)
    assert told["up_to_date"] is True
    assert [(each["name"], each["state"]) for each in told["migrations"]] == [(name, "applied") for name in NAMES]


def test_a_plan_is_sql_of_this_server_and_changes_nothing(engine_url: str, tmp_path: Path) -> None:
    plan = migrate("plan", url=engine_url)
    for_programs = migrate("plan", "--json", url=engine_url)

    assert plan.exit_code == for_programs.exit_code == PENDING
    migrations = json.loads(for_programs.stdout)["migrations"]
    assert [each["name"] for each in migrations] == NAMES
    assert all(statement["done"] is False for each in migrations for statement in each["statements"])
    first = migrations[0]["statements"][0]["sql"]
    assert f"{first};" in plan.stdout
    assert ("ENGINE = InnoDB" in first) == engine_url.startswith("mysql")
    assert not (tmp_path / "databases").exists()


@pytest.mark.part("mysql")
async def test_a_plan_writes_nothing_on_a_server(mysql_url: str) -> None:
    assert migrate("plan", url=mysql_url).exit_code == PENDING
    assert migrate("status", url=mysql_url).exit_code == PENDING

    assert await tables_in(mysql_url) == 0


@pytest.mark.part("mysql")
async def test_the_sql_of_a_plan_makes_the_same_tables_by_hand(mysql_url: str) -> None:
    migrations = json.loads(migrate("plan", "--json", url=mysql_url).stdout)["migrations"]
    statements = [statement["sql"] for each in migrations for statement in each["statements"]]
    assert all("$" not in sql for sql in statements)
    tables = sum(sql.startswith("CREATE TABLE") for sql in statements)

    with closing(administrator(mysql_url)) as connection, connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)

    assert await tables_in(mysql_url) == tables


async def test_a_database_that_is_too_new_is_refused_and_one_with_additions_is_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert migrate("apply", url=url).exit_code == OK
    newer = "INSERT INTO schema_migrations (name, phase, checksum, applied_at) VALUES "
    await execute(url, f"{newer} ('m9001_more', 'pre', 'x', 0)")
    with_additions = migrate("status", url=url)
    await execute(url, f"{newer} ('m9002_less', 'post', 'x', 0)")
    too_new, apply = migrate("status", "--json", url=url), migrate("apply", url=url)
    await execute(url, "INSERT INTO schema_compatibility (name, code_needs) VALUES ('m9002_less', 'm0001_initial')")
    said_to_be_compatible = migrate("status", url=url)

    assert with_additions.exit_code == OK
    assert "this code works on it" in with_additions.stdout
    assert (too_new.exit_code, apply.exit_code) == (TOO_NEW, TOO_NEW)
    assert json.loads(too_new.stdout)["migrations"][-1]["state"] == "too_new"
    assert "m9002_less" in apply.stderr
    assert said_to_be_compatible.exit_code == OK


@pytest.mark.parametrize("command", ["status", "status --json", "plan", "apply", "apply --approved m0002_proof"])
def test_another_services_database_is_named_as_that(tmp_path: Path, command: str) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    assert call("migrate", "apply", "--service", "orders", "--phase", "pre", "--database-url", url).exit_code == OK

    told = migrate(*command.split(), url=url)

    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert f"{url} is the database of orders, not of ledger; name the one of ledger" in told.stderr


@pytest.mark.parametrize("approved", [["m0002_prof"], [*NAMES, "m0002_prof"]])
def test_an_approval_of_a_migration_that_there_is_not_is_told_with_those_that_there_are(
    tmp_path: Path, approved: list[str]
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"

    told = migrate("apply", *(word for name in approved for word in ("--approved", name)), url=url)

    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert f"ledger has no migration m0002_prof; it has: {', '.join(NAMES)}" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_approval_of_what_is_applied_already_is_none_of_a_mistyped_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    approved = [word for name in NAMES for word in ("--approved", name)]
    assert migrate("apply", *approved, url=url).exit_code == OK

    again = migrate("apply", *approved, url=url)

    assert (again.exit_code, again.stdout) == (OK, "nothing to do\n")


async def test_what_newer_code_applied_may_be_approved_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert migrate("apply", url=url).exit_code == OK
    newer = "INSERT INTO schema_migrations (name, phase, checksum, applied_at) VALUES "
    await execute(url, f"{newer} ('m9001_more', 'pre', 'x', 0)")

    told = migrate("apply", "--approved", "m9001_more", url=url)

    assert (told.exit_code, told.stdout) == (OK, "nothing to do\n")


def test_a_url_comes_from_a_file_and_its_password_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("mysql://ann:s3cret@127.0.0.1:1/ledger?connect_timeout_seconds=2\n")
    from_file = call("migrate", "status", "--service", "ledger", "--database-url-file", str(file))
    without = call("migrate", "status", "--service", "ledger", TRADEFLOW_LEDGER_DATABASE_URL="")
    two = call(
        "migrate", "status", "--service", "ledger", "--database-url-file", str(file), "--database-url", "sqlite:///x"
    )

    assert from_file.exit_code == VIOLATED
    assert "can't be reached" in from_file.stderr
    assert "s3cret" not in from_file.stdout + from_file.stderr
    assert without.exit_code == two.exit_code == USAGE
    assert "TRADEFLOW_LEDGER_DATABASE_URL" in without.stderr


@pytest.mark.part("mysql")
@pytest.mark.part("mariadb")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["mysql", "mariadb"])
def test_killed_at_any_statement_it_goes_on_where_it_was(engine: str, request: pytest.FixtureRequest) -> None:
    """Each life applies some statements more and is killed; a killed holder's lease is waited for by the last only."""
    url: str = request.getfixturevalue(f"{engine}_url")
    statements = sum(len(migration.statements) for migration in migrations_of(PACKAGE))
    environment = {**os.environ, "TRADEFLOW_LEDGER_DATABASE_URL": url}
    words = command("migrate", "apply", "--service", "ledger")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY)
    assert process.stderr is not None
    for _ in range(statements // 2):
        process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    half = json.loads(migrate("status", "--json", url=url).stdout)
    finished = migrate("apply", url=url)

    assert half["up_to_date"] is False
    assert half["migrating"]
    done = sum(each.get("statements_done", 0) for each in half["migrations"])
    assert done >= statements // 2 - 2
    assert finished.exit_code == OK, finished.stderr
    assert len(finished.stderr.splitlines()) <= statements - done
    assert migrate("status", url=url).exit_code == OK


def test_the_help_teaches_the_order_of_an_upgrade() -> None:
    told = call("migrate", "--help").stdout

    assert told.index("--phase pre") < told.index("roll out the new release") < told.index("--phase post")
    assert "3 migrations are pending" in " ".join(told.split())


def test_grants_are_statements_for_one_user() -> None:
    told = call("grants", "ledger", "--user", "ledger", "--host", "10.%", "--schema", "books")

    assert told.exit_code == OK
    assert "GRANT SELECT, INSERT ON `books`.`postings` TO 'ledger'@'10.%';" in told.stdout.splitlines()
    assert "UPDATE" not in next(line for line in told.stdout.splitlines() if "`records`" in line)
    assert call("grants", "ledger", "--user", "a\\").exit_code == USAGE


def test_a_certificate_that_is_not_there_is_named() -> None:
    told = migrate("plan", url="mysql://ann:secret@localhost:1/ledger?ssl_ca=/nowhere/ca.pem")

    assert (told.exit_code, told.stdout) == (VIOLATED, "")
    assert told.stderr.startswith("tradeflow: /nowhere/ca.pem: the database URL's ssl_ca can't be used: No such file")
    assert "secret" not in told.stderr
