"""The URL in a user's Secret: the services read it, and it stays right whatever changes."""

import base64
import json
from typing import Any

import pytest

from services.runtime.broker.kafka_url import cluster_of
from tests.support.fake_kafka_admin import FakeCluster as FakeKafka
from tests.support.fake_kafka_admin import FakeKafkaAdmin
from tests.support.kind_bench import NAMESPACE, KindBench
from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.kafka_users import KafkaUsers
from tradeflow_operator.clients.kubernetes import KubernetesClient
from tradeflow_operator.handlers.event_access import EventAccessKind
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_access import EventAccessSpec, Right
from tradeflow_operator.reconcile.kafka_address import AUTHORITY_FILE, KafkaAddress
from tradeflow_operator.resources import ObjectKey, Resource
from tradeflow_operator.work.known import KnownResources

SPEC = {"connectionRef": {"name": "kafka"}, "principal": "ledger", "secretName": "ledger-kafka"}

SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"


class FakeUsers(KafkaUsers):
    """A Kafka's users in memory: each with a password and no rights."""

    def __init__(self, passwords: dict[str, str]) -> None:
        super().__init__(FakeKafkaAdmin(FakeKafka()))
        self._passwords = passwords

    async def exists(self, principal: str) -> bool:
        return principal in self._passwords

    async def rights(self, principal: str) -> tuple[Right, ...]:
        del principal
        return ()

    async def set_password(self, principal: str, password: str) -> None:
        self._passwords[principal] = password


class AccessOfFakes(EventAccessKind):
    """The kind, before those users."""

    def __init__(self, connections: Connections, kubernetes: KubernetesClient, passwords: dict[str, str]) -> None:
        super().__init__(connections, kubernetes)
        self._users_of_test = FakeUsers(passwords)

    async def _users(self, resource: Resource[EventAccessSpec]) -> KafkaUsers:
        del resource
        return self._users_of_test


class AccessWorld:
    """A connection, an EventAccess by it, and the Secret that comes of them."""

    def __init__(self, **spec: Any) -> None:
        self.passwords: dict[str, str] = {}
        self._known = KnownResources()
        self.bench = KindBench(self._kind)
        self.bench.create("ledger", **{**SPEC, **spec})
        self.connect(bootstrapServers=["kafka:9092"])

    def connect(self, **spec: Any) -> None:
        """Say where Kafka is."""
        body = {"metadata": {"name": "kafka", "namespace": NAMESPACE, "uid": "c-1", "generation": 1}, "spec": spec}
        self._known.put(ObjectKey("KafkaConnection", NAMESPACE, "kafka"), body)

    def trust(self, authority: str | None) -> None:
        """Give the connection's Secret an authority, or none, as somebody who signs in does."""
        entries = {"username": "admin", "password": "root", **({"ca.crt": authority} if authority else {})}
        self.bench.cluster.objects.pop(f"{SECRETS}/admin", None)
        data = {name: base64.b64encode(value.encode()).decode() for name, value in entries.items()}
        self.bench.cluster.put(SECRETS, {"metadata": {"name": "admin"}, "data": data})
        # A new process: the old one believes what it read for half a minute.
        self.bench.begin_process()

    def change(self, **entries: str | None) -> None:
        """Edit the user's Secret by hand."""
        data = {name: value and base64.b64encode(value.encode()).decode() for name, value in entries.items()}
        self.bench.cluster.request("PATCH", f"{SECRETS}/ledger-kafka", {"data": data})

    async def secret(self) -> dict[str, str]:
        """Let the operator work, and read what the user's Secret has then."""
        await self.bench.visit("ledger")
        assert self.bench.condition("ledger", "Ready") == ("True", "InSync")
        found = self.bench.found("secrets", "ledger-kafka")
        assert found is not None
        return {name: base64.b64decode(value).decode() for name, value in found["data"].items()}

    def _kind(self, kubernetes: KubernetesClient) -> EventAccessKind:
        connections = Connections(kubernetes, self._known, open_fence(), OperatorMetrics(), batch_size=200)
        return AccessOfFakes(connections, kubernetes, self.passwords)


async def test_a_service_signs_in_by_the_url_of_its_secret() -> None:
    world = AccessWorld(topicPrefix="shop1.")
    world.connect(bootstrapServers=["kafka-1:9093", "kafka-2:9093"], tls=True)

    secret = await world.secret()
    cluster = cluster_of(secret["url"])

    assert cluster.config["bootstrap.servers"] == "kafka-1:9093,kafka-2:9093"
    assert cluster.config["security.protocol"] == "SASL_SSL"
    assert cluster.config["sasl.mechanism"] == secret["sasl.mechanism"]
    assert cluster.config["sasl.username"] == "ledger"
    assert cluster.config["sasl.password"] == secret["password"] == world.passwords["ledger"]
    assert "ssl.ca.location" not in cluster.config
    assert cluster.prefix == "shop1."


async def test_a_private_authority_comes_along_and_goes_again() -> None:
    world = AccessWorld()
    world.connect(bootstrapServers=["kafka:9093"], tls=True, secretRef={"name": "admin"})
    world.trust("PEM")
    private = await world.secret()
    world.trust("ANOTHER")
    another = await world.secret()
    world.trust(None)
    public = await world.secret()

    assert cluster_of(private["url"]).config["ssl.ca.location"] == AUTHORITY_FILE
    assert (private["ca.crt"], another["ca.crt"]) == ("PEM", "ANOTHER")
    assert "ca.crt" not in public
    assert "ssl.ca.location" not in cluster_of(public["url"]).config
    assert "root" not in str([private, another, public])


async def test_an_authority_alone_is_spoken_to_by_tls() -> None:
    world = AccessWorld()
    world.connect(bootstrapServers=["kafka:9093"], secretRef={"name": "admin"})
    world.trust("PEM")

    assert cluster_of((await world.secret())["url"]).config["security.protocol"] == "SASL_SSL"


async def test_a_connection_that_moves_takes_the_url_along_and_leaves_the_password() -> None:
    world = AccessWorld()
    before = await world.secret()
    world.connect(bootstrapServers=["new:9092"])
    after = await world.secret()

    assert cluster_of(before["url"]).config["bootstrap.servers"] == "kafka:9092"
    assert cluster_of(after["url"]).config["bootstrap.servers"] == "new:9092"
    assert after["password"] == before["password"] == world.passwords["ledger"]


async def test_a_new_password_is_in_the_url_too() -> None:
    world = AccessWorld()
    await world.secret()
    world.change(password="chosen by hand: [@/?#]%")
    secret = await world.secret()

    assert cluster_of(secret["url"]).config["sasl.password"] == "chosen by hand: [@/?#]%"
    assert world.passwords["ledger"] == "chosen by hand: [@/?#]%"


@pytest.mark.parametrize("left", [None, "kafka://elsewhere:9092"], ids=["of an older operator", "edited"])
async def test_a_secret_without_the_right_url_gets_it_and_keeps_its_password(left: str | None) -> None:
    world = AccessWorld()
    before = await world.secret()
    world.change(url=left)

    assert await world.secret() == before


async def test_what_is_right_is_written_once() -> None:
    world = AccessWorld()
    await world.secret()
    version = world.bench.found("secrets", "ledger-kafka")
    await world.secret()

    assert world.bench.found("secrets", "ledger-kafka") == version


async def test_the_password_is_in_no_status() -> None:
    world = AccessWorld()
    secret = await world.secret()

    assert secret["password"] not in json.dumps(world.bench.body("ledger"))


def test_addresses_of_ipv6_are_read() -> None:
    address = KafkaAddress(bootstrap_servers=["[2001:db8::1]:9092", "[::1]:9093"])

    config = cluster_of(address.url(user="ledger", password="secret", topic_prefix="")).config

    assert config["bootstrap.servers"] == "[2001:db8::1]:9092,[::1]:9093"
