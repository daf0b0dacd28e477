"""An option that means nothing without another one is refused, instead of looking at something else."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.embedded.cli import app


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("verify --orders-database sqlite:////nowhere/orders.db", "--orders-database needs --database"),
        ("verify --broker sqlite:////nowhere/broker.db", "--broker needs --database"),
        ("verify --book 7", "--book needs --database"),
        ("reconcile --ledger ledger:9090", "--ledger needs --orders-database"),
        ("outbox status --database-url sqlite:////nowhere/orders.db", "Give --service too"),
    ],
)
def test_an_option_that_needs_another_is_refused_without_it(command: str, needed: str) -> None:
    told = CliRunner().invoke(app, command.split())

    assert told.exit_code == 2
    assert needed in told.output


def test_a_ledger_without_an_address_is_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    assert CliRunner().invoke(app, ["migrate", "apply", "--service", "orders", "--database-url", url]).exit_code == 0

    told = CliRunner().invoke(app, ["reconcile", "--orders-database", url, "--ledger", ""])

    assert told.exit_code == 2
    assert "--orders-database needs --ledger" in told.output


def test_a_services_variable_may_be_set_where_a_data_folder_is_looked_at() -> None:
    variables = {"TRADEFLOW_ORDERS_DATABASE_URL": "sqlite:////nowhere/orders.db"}

    told = CliRunner().invoke(app, ["verify", "--data", "nowhere"], env=variables)

    assert "nowhere has no ledger.db" in told.output
