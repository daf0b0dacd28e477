"""What stands at a registry's address and isn't a registry, such as a proxy's page to sign in, is told as that."""

from collections.abc import Awaitable, Callable

import pytest

from tests.support.http_upstream import answering, serving_upstream
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.registry import RegistryClient
from tradeflow_operator.errors import UnavailableError
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_schema import SchemaText

TEXT = SchemaText(type="PROTOBUF", schema='syntax = "proto3";', references=())

CALLS: dict[str, Callable[[RegistryClient], Awaitable[object]]] = {
    "check": lambda client: client.check(),
    "look_up": lambda client: client.look_up("orders", TEXT),
    "versions": lambda client: client.versions("orders"),
    "level": lambda client: client.level("orders"),
    "incompatibilities": lambda client: client.incompatibilities("orders", TEXT, [1]),
    "register": lambda client: client.register("orders", TEXT),
}


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b'"word"', b"\xff"])
@pytest.mark.parametrize("call", CALLS)
async def test_an_answer_that_is_not_a_registrys_is_no_success_and_no_crash(call: str, body: bytes) -> None:
    async with serving_upstream() as upstream:
        upstream.answer = answering(body=body)
        client = RegistryClient(upstream.url, {}, open_fence(), OperatorMetrics())

        with pytest.raises(UnavailableError, match="no registry") as refused:
            await CALLS[call](client)
        await client.close()

    assert refused.value.reason == "RegistryUnreachable"


@pytest.mark.parametrize(
    ("status", "body", "identity"),
    [
        (200, b'{"scope":{"path":[],"clusters":{"kafka-cluster":"k","schema-registry-cluster":"s"}},"id":""}', "k/s"),
        (200, b'{"scope":{"path":[],"clusters":{"kafka-cluster":"k"}}}', None),
        (200, b"<html>Sign in</html>", None),
        (404, b'{"error_code":404,"message":"HTTP 404 Not Found"}', None),
        (403, b"", None),
        (500, b'{"error_code":50001}', None),
    ],
)
async def test_a_registry_is_known_by_its_id_only_where_it_tells_one(
    status: int, body: bytes, identity: str | None
) -> None:
    async with serving_upstream() as upstream:
        upstream.answer = answering(status, body)
        client = RegistryClient(upstream.url, {}, open_fence(), OperatorMetrics())

        assert await client.identity() == identity
        await client.close()

    assert upstream.last.target == "/v1/metadata/id"
