"""What is read of a connection's Secret, and how long its clients live."""

import base64
import gc
import weakref
from typing import Any

import pytest

from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes
from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.kubernetes import object_path
from tradeflow_operator.errors import UnavailableError
from tradeflow_operator.handlers.kafka_connection import KafkaConnectionKind
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.connection import KafkaConnectionSpec
from tradeflow_operator.resources import Resource, parse_resource
from tradeflow_operator.work.known import KnownResources


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def connections(cluster: FakeCluster) -> Connections:
    return Connections(FakeKubernetes(cluster), KnownResources(), open_fence(), OperatorMetrics(), batch_size=1)


def a_connection(**spec: Any) -> Resource[KafkaConnectionSpec]:
    metadata = {"name": "kafka", "namespace": "shop", "uid": "u-1", "generation": 1}
    body = {"metadata": metadata, "spec": {"bootstrapServers": ["127.0.0.1:1"], **spec}}
    return parse_resource("KafkaConnection", body, KafkaConnectionSpec)


async def test_a_secret_may_hold_a_key_store_beside_what_is_read(
    cluster: FakeCluster, connections: Connections
) -> None:
    content = {"username": b"operator", "password": b"secret", "keystore.p12": b"\x30\x82\xff\xfe"}
    data = {name: base64.b64encode(value).decode() for name, value in content.items()}
    cluster.put(object_path("api/v1", "secrets", "shop"), {"metadata": {"name": "kafka"}, "data": data})

    clients = await connections.clients(a_connection(secretRef={"name": "kafka"}))

    assert clients.kafka is not None


@pytest.mark.parametrize("entry", ["ca.crt", "tls.key"])
@pytest.mark.parametrize("content", [b"none", "ünlesbar".encode()])
async def test_a_certificate_that_cannot_be_read_is_named_as_the_trouble(
    cluster: FakeCluster, connections: Connections, entry: str, content: bytes
) -> None:
    data = {entry: base64.b64encode(content).decode()}
    cluster.put(object_path("api/v1", "secrets", "shop"), {"metadata": {"name": "kafka"}, "data": data})

    connection = a_connection(secretRef={"name": "kafka"}, tls=True, registryURL="https://127.0.0.1:1")
    with pytest.raises(UnavailableError) as caught:
        await connections.clients(connection)

    assert caught.value.reason == "SecretUnusable"


async def test_the_clients_of_a_connection_go_with_it(connections: Connections) -> None:
    connection = a_connection(registryURL="http://127.0.0.1:1")
    kafka = weakref.ref((await connections.clients(connection)).kafka)

    KafkaConnectionKind(connections).forget(connection.key)

    gc.collect()
    assert kafka() is None
    await connections.close()
