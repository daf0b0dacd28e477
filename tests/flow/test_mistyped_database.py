"""A database that isn't there is told and not made."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.embedded.cli import app

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
    url = f"sqlite:///{tmp_path}/some.db"
    applied = CliRunner().invoke(app, ["migrate", "apply", "--service", other, "--database-url", url])
    assert applied.exit_code == 0

    told = CliRunner().invoke(app, [*command.split(), "--database-url", url])

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{url} is the database of {other}, not of {service}" in told.stderr


@pytest.mark.parametrize("command", ["outbox status --service ledger", "webhooks list"])
def test_a_database_without_the_services_tables_is_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "empty.db").touch()

    told = CliRunner().invoke(app, [*command.split(), "--database-url", f"sqlite:///{tmp_path}/empty.db"])

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
