"""`tradeflow schemas`: what is said, what is written, and the exit codes that scripts rely on."""

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from services.embedded.cli import app
from services.runtime.registry.registration import COMPATIBILITY_LEVEL
from tests.support.fake_registry import FakeRegistry, fake_registry
from tests.support.schema_files import STRING, schema_file

SUBJECTS = [
    "tradeflow/common/v1/money.proto",
    "tradeflow/common/v1/wallet.proto",
    "shop1.order-events-value",
    "shop1.wallet-events-value",
]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


def run(*words: str, url: str, exit_code: int) -> str:
    result = CliRunner().invoke(app, ["schemas", *words, "--registry", url, "--topic-prefix", "shop1."])
    assert result.exit_code == exit_code, result.output
    return result.output


def states(output: str) -> dict[str, str]:
    return {report["subject"]: report["state"] for report in json.loads(output)["subjects"]}


def test_a_check_writes_nothing_and_registering_completes_it(registry: FakeRegistry) -> None:
    before = states(run("check", "--json", url=registry.url, exit_code=1))
    assert before == dict.fromkeys(SUBJECTS, "missing")
    assert registry.subjects == {}
    assert registry.levels == {}

    done = states(run("register", "--json", url=registry.url, exit_code=0))

    assert done == dict.fromkeys(SUBJECTS, "registered")
    assert registry.levels == dict.fromkeys(SUBJECTS, COMPATIBILITY_LEVEL)
    assert states(run("check", "--json", url=registry.url, exit_code=0)) == dict.fromkeys(SUBJECTS, "current")
    assert states(run("register", "--json", url=registry.url, exit_code=0)) == dict.fromkeys(SUBJECTS, "current")


def test_a_subject_that_holds_something_else_stops_all_behind_it(registry: FakeRegistry) -> None:
    other = {"schemaType": "PROTOBUF", "schema": schema_file({"name": (1, STRING)}).encoded, "references": []}
    registry.answer("POST", "/subjects/shop1.order-events-value/versions", other)

    told = run("register", url=registry.url, exit_code=1)

    assert "shop1.order-events-value          incompatible" in told
    assert "version 1: the package shop.v1 became tradeflow.events.v1" in told
    assert "shop1.wallet-events-value" not in told
    assert len(registry.subjects["shop1.order-events-value"]) == 1
    assert "shop1.order-events-value" not in registry.levels


def test_a_registry_that_can_t_be_asked_is_no_verdict(registry: FakeRegistry) -> None:
    url = registry.url
    registry.stop()

    assert "can't be asked" in run("check", url=url, exit_code=2)
    assert "can't be asked" in run("register", url=url, exit_code=2)


def test_a_malformed_url_is_told_without_its_password() -> None:
    told = run("check", url="kafka://shop:s3cret@registry", exit_code=2)

    assert "https://host" in told
    assert "s3cret" not in told
