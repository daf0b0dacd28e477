"""A database that isn't there is told and not made."""

import asyncio
import shutil
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from services.embedded.cli import app
from services.embedded.commands.service_database import PACKAGES, ServiceName
from services.ledger.committer.committer import committing
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database
from tests.parts.sql_servers import administrator
from tests.support.clock import VirtualClock
from tests.support.database_users import user_with_role
from tests.support.ledger_proof import some_trade, trade_in

COMMANDS = (
    "webhooks list",
    "webhooks redrive",
    "user reset-password ann@example.org",
    "outbox status --service orders",
    "outbox show orders --service orders",
)
"""All that work on a service's database and are given its URL."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistyped_file_is_told_and_not_made(tmp_path: Path, command: str) -> None:
    file = tmp_path / "odrers.db"

    told = CliRunner().invoke(app, [*command.split(), "--database-url", f"sqlite:///{file}"])

    assert told.exit_code == 2
    assert f"There is no {file}" in told.output
    assert list(tmp_path.iterdir()) == []


MISREAD = (
    *COMMANDS,
    "migrate status --service ledger",
    "migrate plan --service orders",
    "migrate apply --service ledger",
)
"""All that are given a database's URL."""


@pytest.mark.parametrize("command", MISREAD)
def test_a_password_that_spoils_the_url_is_told_in_a_line_and_not_shown(command: str) -> None:
    told = CliRunner().invoke(app, [*command.split(), "--database-url", "mysql://orders:hun[ter2@db/orders"])

    assert told.exit_code == 2
    assert "the database URL can't be read" in told.output
    assert "hun[ter2" not in told.output


@pytest.mark.parametrize("command", ["ledger head", "ledger export book.jsonl", "verify", "reconcile"])
def test_a_books_url_that_is_spoilt_is_told_in_a_line(command: str) -> None:
    option = "--orders-database" if command == "reconcile" else "--database"

    told = CliRunner().invoke(app, [*command.split(), option, "mysql://ledger:hun[ter2@db/ledger"])

    assert told.exit_code == 2
    assert "the database URL can't be read" in told.output
    assert "hun[ter2" not in told.output


@pytest.mark.parametrize("command", ["dlq list --broker", "schemas check --registry"])
def test_another_servers_url_that_is_spoilt_is_told_in_a_line(command: str) -> None:
    scheme = "kafka" if command.startswith("dlq") else "https"

    told = CliRunner().invoke(app, [*command.split(), f"{scheme}://shop:hun[ter2@server"])

    assert told.exit_code == 2
    assert "URL can't be read" in told.output
    assert "hun[ter2" not in told.output


def test_a_file_with_the_url_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "url").write_bytes(b"\xff\xfe")

    told = CliRunner().invoke(
        app, ["migrate", "status", "--service", "ledger", "--database-url-file", f"{tmp_path}/url"]
    )

    assert told.exit_code == 2
    assert f"{tmp_path}/url can't be read" in told.output.replace("\n", "")


def migrated(folder: Path, service: str) -> str:
    url = f"sqlite:///{folder}/{service}.db"
    applied = CliRunner().invoke(app, ["migrate", "apply", "--service", service, "--database-url", url])
    assert applied.exit_code == 0, applied.output
    return url


def migrated_on(url: str, service: ServiceName) -> None:
    """Make a service's tables on a server, with some trade where it is the ledger."""

    async def run() -> None:
        database = open_database(url)
        await migrate(database, PACKAGES[service])
        if service == "ledger":
            async with committing(database, book_id=1, clock=VirtualClock()) as committer:
                await committer.submit_many(some_trade())
        await database.close()

    asyncio.run(run())


def take_right_away(url: str, users_url: str, table: str) -> None:
    user = urlsplit(users_url).username
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"REVOKE SELECT ON {table} FROM '{user}'@'%'")  # noqa: S608 - the test's own


@pytest.mark.parametrize(
    ("command", "service", "other"),
    [
        ("outbox status --service ledger", "ledger", "orders"),
        ("outbox show orders --service ledger", "ledger", "orders"),
        ("webhooks list", "orders", "ledger"),
        ("webhooks redrive", "orders", "ledger"),
        ("user reset-password ann@example.org", "orders", "ledger"),
    ],
)
def test_another_services_database_is_named_as_that(tmp_path: Path, command: str, service: str, other: str) -> None:
    url = migrated(tmp_path, other)

    told = CliRunner().invoke(app, [*command.split(), "--database-url", url])

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{url} is the database of {other}, not of {service}" in told.stderr


WALLET = "0198c0de-0000-7000-8000-000000000001"

OF_A_BOOK = (
    "verify",
    "verify --json",
    "ledger head",
    "ledger export {}/book.jsonl",
    "ledger import {}/book.jsonl",
    f"statement export --wallet {WALLET} --currency EUR",
)
"""All that look at a ledger's book, and are given its database."""


@pytest.mark.parametrize("command", OF_A_BOOK)
def test_a_database_that_has_no_book_since_it_is_orders_is_named_as_that(tmp_path: Path, command: str) -> None:
    url = migrated(tmp_path, "orders")
    if "import" in command:
        (tmp_path / "book.jsonl").touch()

    told = CliRunner().invoke(app, [*command.format(tmp_path).split(), "--database", url])

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{url} is the database of orders, not of ledger; name the one of ledger" in told.stderr


@pytest.mark.parametrize(("service", "other"), [("ledger", "orders"), ("orders", "ledger")])
def test_a_data_folder_with_another_services_database_is_named_as_that(
    tmp_path: Path, service: str, other: str
) -> None:
    for name in ("ledger", "orders"):
        migrated(tmp_path, name)
    (tmp_path / "broker.db").touch()
    shutil.copy(tmp_path / f"{other}.db", tmp_path / f"{service}.db")

    told = CliRunner().invoke(app, ["verify", "--data", str(tmp_path)])

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{service}.db is the database of {other}, not of {service}" in told.stderr


def test_orders_that_are_compared_are_not_looked_for_in_the_ledgers_database(tmp_path: Path) -> None:
    trade_in(tmp_path, some_trade())
    url = f"sqlite:///{tmp_path}/ledger.db"

    told = [
        CliRunner().invoke(app, ["verify", "--database", url, "--orders-database", url]),
        CliRunner().invoke(app, ["reconcile", "--orders-database", url, "--ledger", "127.0.0.1:1"]),
    ]

    assert [(one.exit_code, one.stdout) for one in told] == [(2, "")] * 2
    for one in told:
        assert f"{url} is the database of ledger, not of orders; name the one of orders" in one.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--database amqp://server", "a database URL of scheme 'amqp' isn't supported"),
        ("--database mysql://server", "it names a database: mysql://user:password@host:3306/database"),
        ("--database mysql://a:b@127.0.0.1:1/ledger?connect_timeout_seconds=2", "the database can't be reached"),
        ("--database {} --orders-database amqp://server", "a database URL of scheme 'amqp' isn't supported"),
        ("--database {} --broker amqp://server", "supported: kafka://host:9092 and sqlite:"),
        ("--database {} --broker kafka://server:9092?nope=1", "unknown option 'nope' of a Kafka URL"),
    ],
)
def test_a_place_that_cannot_be_looked_at_is_no_violation(tmp_path: Path, options: str, words: str) -> None:
    trade_in(tmp_path, some_trade())

    told = CliRunner().invoke(app, ["verify", *options.format(f"sqlite:///{tmp_path}/ledger.db").split()])

    assert (told.exit_code, told.stdout) == (2, "")
    assert words in told.stderr


@pytest.mark.part("mysql")
@pytest.mark.parametrize("mistyped", [("", ""), (":p%25w@", ":p%25ww@")], ids=["rights", "password"])
def test_a_server_that_lets_nobody_in_is_told_in_a_line_and_is_no_violation(
    mysql_url: str, tmp_path: Path, mistyped: tuple[str, str]
) -> None:
    with user_with_role(mysql_url, "ledger", role=None) as users_url:
        url = users_url.replace(*mistyped)
        verified = CliRunner().invoke(app, ["verify", "--database", url])
        others = [
            CliRunner().invoke(app, [*command.format(tmp_path).split(), "--database", url])
            for command in ("ledger head", "ledger export {}/book.jsonl", OF_A_BOOK[-1])
        ]

    assert (verified.exit_code, verified.stdout) == (2, "")
    assert [(one.exit_code, one.stdout) for one in others] == [(1, "")] * len(others)
    for one in (verified, *others):
        assert one.stderr.startswith("tradeflow: ")
        assert "Access denied for user" in one.stderr
        assert "p%25w" not in one.stderr


@pytest.mark.part("mysql")
def test_a_database_that_the_server_does_not_have_is_no_violation(mysql_url: str) -> None:
    told = CliRunner().invoke(app, ["verify", "--database", mysql_url.replace("/test_", "/tset_")])

    assert (told.exit_code, told.stdout) == (2, "")
    assert "Unknown database" in told.stderr


def test_a_book_that_there_is_not_is_no_violation_unless_a_head_of_it_was_kept(tmp_path: Path) -> None:
    trade_in(tmp_path, some_trade())
    url, kept = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "head.json"
    kept.write_text(CliRunner().invoke(app, ["ledger", "head", "--data", str(tmp_path)]).stdout)

    told = CliRunner().invoke(app, ["verify", "--database", url, "--book", "7"])
    missed = CliRunner().invoke(app, ["verify", "--database", url, "--book", "7", "--head", str(kept)])

    assert (told.exit_code, told.stdout, told.stderr) == (2, "", "tradeflow: There is no book 7.\n")
    assert missed.exit_code == 1


@pytest.mark.part("mysql")
@pytest.mark.parametrize(("service", "table"), [("ledger", "tree_nodes"), ("orders", "orders")])
def test_a_right_that_is_missing_is_told_in_a_line_and_is_no_violation(
    mysql_url: str, tmp_path: Path, service: ServiceName, table: str
) -> None:
    trade_in(tmp_path, some_trade())
    migrated_on(mysql_url, service)
    places = {"ledger": f"sqlite:///{tmp_path}/ledger.db", "orders": f"sqlite:///{tmp_path}/orders.db"}
    with user_with_role(mysql_url, service, role="reader") as url:
        take_right_away(mysql_url, url, table)
        places[service] = url
        migrated(tmp_path, "orders")
        told = CliRunner().invoke(
            app, ["verify", "--database", places["ledger"], "--orders-database", places["orders"]]
        )

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"for table '{table}'" in told.stderr
    assert "`tradeflow grants` prints what each role needs" in told.stderr


def test_a_file_that_is_no_database_any_more_is_a_violation(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database at all" * 1_000)

    told = CliRunner().invoke(app, ["verify", "--database", f"sqlite:///{tmp_path}/ledger.db"])

    assert told.exit_code == 1
    assert "file is not a database" in told.stdout


GIVEN_A_FOLDER = (
    *(f"{command} --database-url" for command in MISREAD),
    *(f"{command} --database" for command in OF_A_BOOK),
    "dlq list --broker",
    "reconcile --ledger 127.0.0.1:1 --orders-database",
)
"""All that are given the URL of a database or a broker, up to it."""


@pytest.mark.parametrize("command", GIVEN_A_FOLDER)
def test_a_folder_is_told_as_no_database(tmp_path: Path, command: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "book.jsonl").touch()

    told = CliRunner().invoke(app, [*command.format(tmp_path).split(), f"sqlite:///{tmp_path}/data"])

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{tmp_path}/data is a folder; name the file in it" in told.stderr


def test_a_file_with_the_url_that_is_empty_is_told(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("\n")

    told = CliRunner().invoke(app, ["webhooks", "list", "--database-url-file", f"{tmp_path}/url"])

    assert told.exit_code == 2
    assert told.stderr == f"tradeflow: {tmp_path}/url is empty; it should hold the database's URL\n"


@pytest.mark.parametrize(
    ("command", "topic"),
    [
        ("list", "order-events.dlq"),
        ("show orders:wallet-events/0/17", "wallet-events.dlq"),
        ("redrive", "order-events.dlq"),
        ("discard", "order-events.dlq"),
    ],
)
def test_a_file_that_is_no_event_log_is_told_as_that(tmp_path: Path, command: str, topic: str) -> None:
    trade_in(tmp_path, some_trade())

    told = CliRunner().invoke(app, ["dlq", *command.split(), "--broker", f"sqlite:///{tmp_path}/ledger.db"])

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"no topic '{topic}'" in told.stderr
    assert "no broker of a platform, or no service ran on it yet" in told.stderr


@pytest.mark.parametrize("url", ["sqlite://ledger.db", "sqlite:///"])
def test_a_url_that_names_no_file_is_told_how_to_name_one(url: str) -> None:
    told = CliRunner().invoke(app, ["ledger", "head", "--database", url])

    assert told.exit_code == 2
    assert "sqlite:////path/to/file.db" in told.stderr


@pytest.mark.parametrize(
    "command",
    ["outbox status --service ledger --database-url", "webhooks list --database-url", "ledger head --database"],
)
def test_a_database_without_the_services_tables_is_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "empty.db").touch()

    told = CliRunner().invoke(app, [*command.split(), f"sqlite:///{tmp_path}/empty.db"])

    assert told.exit_code == 1
    assert "`tradeflow migrate apply`" in told.output


def test_a_report_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    places = ["--database-url", f"sqlite:///{tmp_path}/new.db", "--report", f"{tmp_path}/nowhere/report"]

    told = CliRunner().invoke(app, ["migrate", "plan", "--service", "ledger", *places])

    assert told.exit_code == 1
    assert isinstance(told.exception, SystemExit)
    assert "No such file or directory" in told.output


def test_a_broker_of_another_kind_is_told_with_those_that_there_are() -> None:
    told = CliRunner().invoke(app, ["dlq", "list", "--broker", "amqp://broker"])

    assert told.exit_code == 2
    assert "'amqp' isn't supported; supported: kafka://host:9092 and sqlite:" in told.output
