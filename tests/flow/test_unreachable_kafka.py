"""A Kafka that nobody answers at ends a command with one line, and not with the hundred that its library says of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.embedded.cli import app
from services.embedded.verification import kafka_event_log
from services.runtime.broker import kafka_log
from tests.parts.home import free_port
from tests.support.ledger_proof import some_trade, trade_in

ANSWER_SECONDS_MAX = 1.0
"""Long enough for the library to say something, and shorter than what a cluster gets otherwise."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (kafka_log, kafka_event_log):
        monkeypatch.setattr(module, "ANSWER_SECONDS_MAX", ANSWER_SECONDS_MAX)


@pytest.mark.parametrize("command", ["list", "show orders:wallet-events/0/17", "redrive", "discard"])
def test_dead_letters_of_a_kafka_that_is_away_are_one_line(command: str) -> None:
    place = f"127.0.0.1:{free_port()}"

    told = CliRunner().invoke(app, ["dlq", *command.split(), "--broker", f"kafka://ann:s3cret@{place}"])

    assert (told.exit_code, told.stdout) == (1, "")
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"tradeflow: Kafka at {place} can't be asked: ")
    assert "s3cret" not in line


def test_a_verification_that_cannot_ask_kafka_says_so_in_its_own_line(tmp_path: Path) -> None:
    trade_in(tmp_path, some_trade())
    place = f"127.0.0.1:{free_port()}"
    database = f"sqlite:///{tmp_path}/ledger.db"

    told = CliRunner().invoke(app, ["verify", "--database", database, "--broker", f"kafka://{place}", "--json"])

    assert told.exit_code == 1
    violations = {one["number"]: one["violations"] for one in json.loads(told.stdout)["invariants"]}
    (violation,) = violations.pop(6)
    assert violation.startswith(f"the check failed: Kafka at {place} can't be asked: ")
    assert not any(violations.values())
    assert "rdkafka#" not in told.stderr
