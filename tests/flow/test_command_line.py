"""The `tradeflow` command line, and the services' own, as somebody calls them from a shell."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.embedded.cli import app
from services.embedded.invariants import INVARIANTS
from tests.support.platform import REPOSITORY, platform_process, run_command
from tests.support.public_shop import public_shop, until_state

WIDE = {"COLUMNS": "120", "NO_COLOR": "1"}
"""A terminal that breaks no words."""


@pytest.fixture(scope="module")
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data that a demo left behind."""
    data: Path = tmp_path_factory.mktemp("demo") / "data"
    told = run_command("demo", "--data", str(data))
    assert told.returncode == 0, told.stdout + told.stderr
    (data / "told.txt").write_text(told.stdout)
    return data


def test_the_demo_tells_its_story_and_ends_with_the_invariants(demo_data: Path) -> None:
    lines = (demo_data / "told.txt").read_text().splitlines()

    for number, line in zip(INVARIANTS, lines[-len(INVARIANTS) :], strict=True):
        assert line.startswith(f"✔ {number}. {INVARIANTS[number]}"), line
    story = "\n".join(lines)
    for word in ("sale_credited", "PARTIALLY_REFUNDED", "insufficient_funds", "REJECTED"):
        assert word in story


def test_the_demo_leaves_nothing_behind_unless_asked_to(tmp_path: Path) -> None:
    told = run_command("demo", "--fast", environment={"TMPDIR": str(tmp_path), "TRADEFLOW_DATA": str(tmp_path / "x")})

    assert told.returncode == 0, told.stdout + told.stderr
    assert list(tmp_path.iterdir()) == []
    assert told.stderr == ""


def test_the_invariants_can_be_read_without_unicode(demo_data: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}

    report = run_command("verify", "--data", str(demo_data), environment=ascii_only)

    assert report.returncode == 0, report.stderr
    assert report.stdout.startswith(f"[ok] 1. {INVARIANTS[1]}")


def test_verify_finds_nothing_on_good_data(demo_data: Path) -> None:
    for_people = run_command("verify", "--data", str(demo_data))
    for_programs = run_command("verify", "--data", str(demo_data), "--json")

    assert for_people.returncode == 0, for_people.stdout + for_people.stderr
    assert len(for_people.stdout.splitlines()) == len(INVARIANTS)
    report = json.loads(for_programs.stdout)
    assert report["holds"] is True
    assert [entry["number"] for entry in report["invariants"]] == list(INVARIANTS)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ("UPDATE postings SET amount = amount + 1 WHERE rowid = (SELECT max(rowid) FROM postings)", 7),
        ("UPDATE records SET recorded_at = recorded_at + 1 WHERE sequence = 3", 7),
        ("UPDATE balances SET credits_posted = credits_posted + 1 WHERE account_id = 1", 1),
        ("UPDATE holds SET captured = captured - 1, voided = voided + 1", 3),
        ("UPDATE holds SET refunded = refunded + 1 WHERE captured > refunded", 5),
        ("DELETE FROM records WHERE sequence = (SELECT max(sequence) FROM records)", 7),
        ("UPDATE balances SET event_sequence = event_sequence + 1 WHERE event_sequence > 0", 8),
    ],
)
def test_verify_finds_what_somebody_changed_in_the_ledger(
    demo_data: Path, tmp_path: Path, change: str, number: int
) -> None:
    _copy(demo_data, tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        assert database.execute(change).rowcount > 0

    report = run_command("verify", "--data", str(tmp_path), "--json")

    assert report.returncode == 1, report.stdout + report.stderr
    violated = [entry["number"] for entry in json.loads(report.stdout)["invariants"] if not entry["holds"]]
    assert number in violated


def test_verify_finds_an_order_that_claims_other_sums_than_the_ledger(demo_data: Path, tmp_path: Path) -> None:
    _copy(demo_data, tmp_path)
    with closing(sqlite3.connect(tmp_path / "orders.db")) as database, database:
        database.execute("UPDATE orders SET captured_minor = captured_minor - 1 WHERE captured_minor > refunded_minor")

    report = run_command("verify", "--data", str(tmp_path))

    assert report.returncode == 1
    assert "✘ 5." in report.stdout


async def test_verify_works_while_the_platform_runs(tmp_path: Path) -> None:
    with platform_process(tmp_path / "data") as process:
        async with public_shop(process.gateway_url, process.data) as shop:
            buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
            sku = await shop.product(seller, price_minor=1_000)
            order = await buyer.client.place_order({sku: 1})
            report = run_command("verify", "--data", str(process.data))
            await until_state(buyer, order, "SETTLED")

    assert report.returncode == 0, report.stdout + report.stderr


def test_verify_without_data_says_so(tmp_path: Path) -> None:
    report = run_command("verify", "--data", str(tmp_path))

    assert report.returncode == 2
    assert "ledger.db" in report.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_help_lists_the_commands_and_teaches_their_use() -> None:
    shown = CliRunner().invoke(app, ["--help"], env=WIDE)

    assert shown.exit_code == 0
    for word in ("up", "demo", "verify", "replay", "--version", "Exit codes", ".tradeflow", "secrets.json"):
        assert word in shown.stdout, word


@pytest.mark.parametrize("name", ["up", "demo", "verify", "replay"])
def test_each_command_explains_itself_with_examples(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env=WIDE)

    assert shown.exit_code == 0, shown.stderr
    assert f"tradeflow {name}" in shown.stdout
    assert "Examples" in shown.stdout


def test_the_version_is_told() -> None:
    shown = run_command("--version")

    assert (shown.returncode, shown.stdout.split()[0]) == (0, "tradeflow")


@pytest.mark.parametrize("arguments", [["dance"], ["up", "--port", "high"], ["verify", "--nope"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_taken_port_is_told_in_one_sentence(tmp_path: Path) -> None:
    with platform_process(tmp_path / "one") as process:
        port = process.gateway_url.rpartition(":")[2]
        others = [
            part for name in ("orders", "ledger", "ledger-grpc", "orders-grpc") for part in (f"--{name}-port", "0")
        ]

        second = run_command("up", "--data", str(tmp_path / "two"), "--port", port, *others)

    assert second.returncode == 2
    assert port in second.stderr
    assert "Traceback" not in second.stderr


def test_a_wrong_setting_of_a_service_is_told_by_its_name(tmp_path: Path) -> None:
    wrong = {"TRADEFLOW_ORDERS_FEE_BASIS_POINTS": "many"}

    shown = run_command("up", "--data", str(tmp_path), "--port", "0", environment=wrong)

    assert shown.returncode == 2
    assert "fee_basis_points" in shown.stderr.lower()
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("service", "variables"),
    [
        ("ledger", ["DATABASE_URL", "BROKER_URL", "ISSUER", "JWKS_URL"]),
        ("orders", ["DATABASE_URL", "BROKER_URL", "ISSUER", "JWKS_URL", "LEDGER_GRPC_TARGET", "TOKEN_URL"]),
        ("gateway", ["BROKER_URL", "REDIS_URL", "ISSUER", "KEYS_FOLDER", "ORDERS_HTTP_URL", "LEDGER_HTTP_URL"]),
    ],
)
def test_a_service_without_settings_names_what_is_missing(service: str, variables: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADEFLOW_")}

    started = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=REPOSITORY,
        env=environment,
    )

    assert started.returncode == 2
    for variable in variables:
        assert f"TRADEFLOW_{service.upper()}_{variable}" in started.stderr


def _copy(data: Path, target: Path) -> None:
    for name in ("ledger.db", "orders.db", "broker.db"):
        with closing(sqlite3.connect(data / name)) as source, closing(sqlite3.connect(target / name)) as copy:
            source.backup(copy)
