"""An option's value that can't be meant is refused with what to do, before anything is done."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.embedded.cli import app
from tests.support.ledger_proof import some_trade, trade_in

WALLET = "0198c0de-0000-7000-8000-000000000001"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger's database, and an order history."""
    trade_in(tmp_path, some_trade())
    (tmp_path / "sales.csv").write_text("InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID\n")
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_currency_of_a_replay_is_told_as_the_option_that_it_is(folder: Path) -> None:
    told = call("replay", folder / "sales.csv", "--data", folder / "new", "--currency", "gbp")

    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr == "tradeflow: --currency: 'gbp' is no asset here; ISO 4217 codes in capitals are.\n"
    assert not (folder / "new").exists()


def test_a_statement_that_ends_before_it_begins_is_refused(folder: Path) -> None:
    told = call(
        *("statement", "export", "--wallet", WALLET, "--currency", "EUR"), "--data", folder, "--from", 3, "--to", 2
    )

    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr == "tradeflow: --from 3 is behind --to 2; --to 0 is the newest row\n"


@pytest.mark.parametrize("command", ["ledger export {}", "migrate plan --service ledger --report {}"])
def test_a_file_that_cannot_be_written_is_named_without_a_programmers_words(folder: Path, command: str) -> None:
    file = folder / "nowhere" / "file"
    where = ["--data", folder] if command.startswith("ledger") else ["--database-url", f"sqlite:///{folder}/new.db"]

    told = call(*command.format(file).split(), *where)

    assert f"tradeflow: {file}: No such file or directory\n" in told.stderr


def test_an_address_that_nobody_can_listen_on_is_told_with_the_option_that_names_it(tmp_path: Path) -> None:
    told = call("up", "--data", tmp_path / "data", "--host", "999.1.1.1", "--port", 0)

    assert told.exit_code == 2
    assert "--host" in told.stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("verify", "--from"),
        ("verify", "--book"),
        ("ledger head", "--book"),
        (f"statement export --wallet {WALLET} --currency EUR", "--from"),
        (f"statement export --wallet {WALLET} --currency EUR", "--to"),
        ("outbox show book:1", "--after"),
    ],
)
def test_a_number_that_no_database_holds_is_told_with_the_largest_one(folder: Path, command: str, option: str) -> None:
    where = ["--database", f"sqlite:///{folder}/ledger.db"] if option == "--book" else ["--data", folder]

    told = call(*command.split(), *where, option, 2**63)

    assert (told.exit_code, told.stdout) == (2, "")
    assert option in told.stderr
    assert str(2**63 - 1) in told.stderr


@pytest.mark.parametrize("command", ["ledger head", f"statement export --wallet {WALLET} --currency EUR"])
def test_keys_to_sign_with_that_are_not_there_are_told(folder: Path, command: str) -> None:
    told = call(*command.split(), "--data", folder, "--signing-keys", folder / "nowhere")

    assert (told.exit_code, told.stdout) == (2, "")
    assert "--signing-keys" in told.stderr


def test_rejects_that_a_folder_should_hold_are_refused_before_anything_is_replayed(folder: Path) -> None:
    told = call("replay", folder / "sales.csv", "--data", folder / "new", "--rejects", folder)

    assert (told.exit_code, told.stdout) == (2, "")
    assert "--rejects" in told.stderr
    assert not (folder / "new").exists()


INSTEAD_OF_A_FOLDER = [
    ("verify", "--database", "TRADEFLOW_LEDGER_DATABASE_URL"),
    ("ledger head", "--database", "TRADEFLOW_LEDGER_DATABASE_URL"),
    ("ledger export book.jsonl", "--database", "TRADEFLOW_LEDGER_DATABASE_URL"),
    ("ledger import {}/sales.csv", "--database", "TRADEFLOW_LEDGER_DATABASE_URL"),
    (f"statement export --wallet {WALLET} --currency EUR", "--database", "TRADEFLOW_LEDGER_DATABASE_URL"),
    ("reconcile", "--orders-database", "TRADEFLOW_ORDERS_DATABASE_URL"),
    ("dlq list", "--broker", "TRADEFLOW_ORDERS_BROKER_URL"),
    ("dlq show orders:wallet-events/0/17", "--broker", "TRADEFLOW_ORDERS_BROKER_URL"),
    ("dlq redrive", "--broker", "TRADEFLOW_ORDERS_BROKER_URL"),
    ("dlq discard", "--broker", "TRADEFLOW_ORDERS_BROKER_URL"),
    ("outbox status --service orders", "--database-url", "TRADEFLOW_ORDERS_DATABASE_URL"),
    ("outbox show orders", "--database-url", "TRADEFLOW_ORDERS_DATABASE_URL"),
    ("webhooks list", "--database-url", "TRADEFLOW_ORDERS_DATABASE_URL"),
    ("webhooks redrive", "--database-url", "TRADEFLOW_ORDERS_DATABASE_URL"),
    ("user reset-password ann@example.org", "--database-url", "TRADEFLOW_ORDERS_DATABASE_URL"),
]
"""Commands, the option by which they look elsewhere than at a data folder, and the variable that means the same."""


def elsewhere(folder: Path) -> str:
    return f"sqlite:///{folder}/elsewhere/some.db"


@pytest.mark.parametrize(("command", "option"), [one[:2] for one in INSTEAD_OF_A_FOLDER])
def test_a_data_folder_and_another_place_are_refused_together(folder: Path, command: str, option: str) -> None:
    told = call(*command.format(folder).split(), "--data", folder, option, elsewhere(folder))

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"--data and {option}: one of them" in told.stderr


@pytest.mark.parametrize(("command", "variable"), [(one[0], one[2]) for one in INSTEAD_OF_A_FOLDER])
def test_a_data_folder_that_is_named_goes_before_what_the_environment_says(
    folder: Path, command: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv(variable, elsewhere(folder))

    told = call(*command.format(folder).split(), "--data", folder)

    assert "elsewhere" not in told.output
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        *[(one[0], one[2]) for one in INSTEAD_OF_A_FOLDER if "import" not in one[0]],  # it reads its file first
        ("outbox status", "TRADEFLOW_LEDGER_DATABASE_URL"),
        ("outbox status", "TRADEFLOW_ORDERS_DATABASE_URL"),
        ("dlq list", "TRADEFLOW_LEDGER_BROKER_URL"),
    ],
)
def test_in_a_services_pod_what_its_environment_says_is_looked_at_and_no_data_folder(
    folder: Path, command: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TRADEFLOW_DATA", str(folder))  # the image says where its data would be
    monkeypatch.setenv(variable, f"sqlite:///{folder}/elsewhere/some.db")

    told = call(*command.format(folder).split())

    assert "elsewhere" in told.output
    assert told.exit_code != 0
