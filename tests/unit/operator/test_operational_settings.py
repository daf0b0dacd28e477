"""Rule 8: how the operator works is told by its flags, and is never a default in a kind's definition."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.support.operator_crds import definitions
from tradeflow_operator.clients.gathering import Gatherer
from tradeflow_operator.settings import OperatorSettings, load_settings
from tradeflow_operator.work.backoff import backoff_seconds, jittered_seconds

DEFINITIONS = definitions()

STATUS = ("properties", "status")
"""The only place of a default: what isn't told yet is Unknown."""

FLAGS = ("workers", "resync_seconds", "backoff_longest_seconds", "batch_size", "audit_seconds", "lease_seconds")
"""How the operator works, and nobody's business who writes a resource."""


def kind_of(definition: dict[str, Any]) -> str:
    return str(definition["spec"]["names"]["kind"])


def schemas(schema: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Walk over a schema and all that are within it."""
    if isinstance(schema, list):
        for number, each in enumerate(schema):
            yield from schemas(each, (*at, str(number)))
    if not isinstance(schema, dict):
        return
    yield at, schema
    for word, inner in schema.items():
        if word == "properties":
            for name, field in inner.items():
                yield from schemas(field, (*at, word, name))
        elif word != "default":
            yield from schemas(inner, (*at, word))


@pytest.mark.parametrize("definition", DEFINITIONS, ids=kind_of)
def test_rule_8_only_the_status_of_a_kind_has_a_default(definition: dict[str, Any]) -> None:
    for version in definition["spec"]["versions"]:
        found = [at for at, schema in schemas(version["schema"]["openAPIV3Schema"]) if "default" in schema]

        assert found == [STATUS]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=kind_of)
def test_rule_8_no_kind_has_a_field_for_how_the_operator_works(definition: dict[str, Any]) -> None:
    words = {flag.replace("_", "").removesuffix("seconds") for flag in FLAGS} | {"resync", "backoff", "batch"}
    fields = {
        name.lower()
        for version in definition["spec"]["versions"]
        for at, _ in schemas(version["schema"]["openAPIV3Schema"])
        for name in at[-1:]
        if at[-2:-1] == ("properties",)
    }

    assert fields  # so that the walk is one
    assert not {name for name in fields if name.startswith(tuple(words))}


def test_rule_8_how_the_operator_works_is_told_by_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FLAGS:
        monkeypatch.setenv(f"TRADEFLOW_OPERATOR_{name.upper()}", "7")

    settings = load_settings()

    assert {getattr(settings, name) for name in FLAGS} == {7}


def test_rule_8_a_resync_comes_every_five_minutes_give_or_take_a_fifth() -> None:
    resync_seconds = OperatorSettings().resync_seconds
    spread = [jittered_seconds(resync_seconds) for _ in range(1000)]

    assert 240 <= min(spread) < 250
    assert 350 < max(spread) <= 360


def test_rule_8_the_flag_bounds_the_back_off() -> None:
    waits = [backoff_seconds(failures, longest_seconds=7.0) for failures in range(1, 40)]

    assert max(waits) <= 7.0
    assert min(waits[5:]) >= 3.5


def test_a_lease_that_ends_before_it_is_renewed_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADEFLOW_OPERATOR_LEASE_RENEW_SECONDS", "20")

    with pytest.raises(SystemExit):
        load_settings()

    assert "TRADEFLOW_OPERATOR_LEASE_RENEW_SECONDS is wrong" in capsys.readouterr().err


async def test_rule_8_the_flag_bounds_a_request_to_kafka() -> None:
    sizes: list[int] = []

    async def ask(names: Sequence[str]) -> dict[str, str | Exception]:
        sizes.append(len(names))
        return {name: name.upper() for name in names}

    gatherer: Gatherer[str] = Gatherer(ask, questions_max=4)

    answers = await asyncio.gather(*(gatherer.answer(f"topic-{number}") for number in range(10)))

    assert answers == [f"TOPIC-{number}" for number in range(10)]
    assert sizes == [4, 4, 2]
