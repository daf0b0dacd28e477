"""Rule 9: no secret in a status, an Event or a log, whatever a Secret holds and whatever servers say back."""

import base64
import json
import logging
from collections.abc import Mapping
from io import StringIO
from typing import Any
from urllib.parse import quote

import pytest

from tests.parts.home import free_port
from tests.support.a_kind import NumberKind
from tests.support.kind_bench import KindBench
from tradeflow_operator.clients import kafka, registry
from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.kubernetes import object_path
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.handlers.kafka_connection import KafkaConnectionKind
from tradeflow_operator.log import REDACTED, configure_logging, redact
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.work.known import KnownResources

CANARY = "c4naryOfTheSecret+/="

SECRETS: Mapping[str, Mapping[str, str]] = {
    "a password": {"username": "operator", "password": CANARY},
    "a registry's password": {"registry-username": "operator", "registry-password": CANARY},
    "a key that is none": {"tls.crt": "none", "tls.key": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n"},
    "a certificate that is none": {"ca.crt": CANARY},
}


@pytest.fixture
def log() -> StringIO:
    """Log all as the operator's process does, into memory."""
    configure_logging(level="DEBUG", log_format="json")
    written = StringIO()
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    return written


def forms_of(secret: str) -> set[str]:
    """List how a secret may look in a text."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, encoded, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}


def told(bench: KindBench, log: StringIO) -> str:
    """Return all that anybody may read: what the cluster has of resources and Events, and the log."""
    statuses = [body.get("status") for body in bench.cluster.objects.values()]
    return json.dumps([statuses, bench.cluster.events()]) + log.getvalue()


@pytest.mark.parametrize("content", SECRETS.values(), ids=SECRETS.keys())
async def test_rule_9_a_connections_secret_is_told_nowhere(
    content: Mapping[str, str], log: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (kafka, registry):
        monkeypatch.setattr(module, "READ_SECONDS_MAX", 0.3)
    bench = KindBench(
        lambda kubernetes: KafkaConnectionKind(
            Connections(kubernetes, KnownResources(), open_fence(), OperatorMetrics(), batch_size=1)
        )
    )
    data = {name: base64.b64encode(value.encode()).decode() for name, value in content.items()}
    bench.cluster.put(object_path("api/v1", "secrets", "shop"), {"metadata": {"name": "kafka"}, "data": data})
    port = free_port()
    bench.create(
        "kafka",
        bootstrapServers=[f"127.0.0.1:{port}"],
        registryURL=f"http://operator:{quote(CANARY, safe='')}@127.0.0.1:{port}",
        secretRef={"name": "kafka"},
    )

    await bench.visit("kafka")

    assert bench.condition("kafka", "Ready")[0] != "True"
    everything = told(bench, log)
    assert "KafkaConnection" in everything
    assert not [form for form in forms_of(CANARY) if form in everything]


@pytest.mark.parametrize(
    "saying",
    [
        f"can't reach mysql://migrator:{CANARY}@db:3306/ledger",
        f"the header was Authorization: Basic {CANARY}",
        f"the header was Authorization: Bearer {CANARY}",
        f"wrong: password={CANARY}",
        f"the key is -----BEGIN PRIVATE KEY-----\n{CANARY}",
    ],
    ids=["url", "basic", "bearer", "password", "key"],
)
@pytest.mark.parametrize("trouble", ["refused", "unavailable", "a bug"])
async def test_rule_9_a_secret_that_comes_back_in_an_error_is_told_nowhere(
    saying: str, trouble: str, log: StringIO
) -> None:
    errors: dict[str, Exception] = {
        "refused": RefusedError(saying, reason="Refused"),
        "unavailable": UnavailableError(saying, reason="Unavailable"),
        "a bug": RuntimeError(saying),
    }
    kind = NumberKind()
    kind.trouble = errors[trouble]
    bench = KindBench(lambda _: kind)
    bench.create("seven", number=7)

    await bench.visit("seven")

    everything = told(bench, log)
    assert "seven" in log.getvalue()
    assert bench.condition("seven", "Ready")[0] != "True"
    assert CANARY not in everything


async def test_rule_9_what_was_redacted_is_not_written_again_at_each_look(log: StringIO) -> None:
    kind = NumberKind()
    kind.trouble = RefusedError(f"http://operator:{CANARY}@registry is wrong", reason="Refused")
    bench = KindBench(lambda _: kind)
    bench.create("seven", number=7)
    await bench.visit("seven")
    writes: list[Any] = list(bench.cluster.writes)

    await bench.visit("seven")

    assert bench.cluster.writes == writes
    assert CANARY not in log.getvalue()


@pytest.mark.parametrize("name", ["clientSecret", "accessToken", "apiKey", "saslJaasConfig", "tls-Password"])
def test_rule_9_a_field_is_known_by_its_words_however_they_are_joined(name: str) -> None:
    assert redact(None, "info", {"outer": {name: CANARY}}) == {"outer": {name: REDACTED}}


def test_the_name_of_a_secret_is_told_however_it_is_written() -> None:
    event = {"secret_name": "kafka", "secretName": "kafka", "keyId": "k1"}

    assert redact(None, "info", dict(event)) == event
