"""Who owns a subject goes by the registry that it is in, whichever Kafka stands beside that registry."""

from typing import Any

import pytest

from tests.support.fake_kafka_admin import FakeCluster
from tests.support.fake_schema_registry import FakeSubjects
from tests.support.operator_world import OperatorProcess, OperatorWorld
from tradeflow_operator.reconcile.connection import registry_address

CONNECTION, SCHEMA = "KafkaConnection", "EventSchema"

CONFLICT = ("False", "ResourceConflict")

FIRST = 'syntax = "proto3"; message A { string a = 1; }'
SECOND = 'syntax = "proto3"; message A { string a = 1; string b = 2; }'


@pytest.fixture
def world() -> OperatorWorld:
    """Hold a Kafka and a registry of ours, and a second Kafka."""
    world = OperatorWorld()
    world.kafkas["other:9092"] = FakeCluster("other-cluster")
    return world


def connect(world: OperatorWorld, name: str, *, kafka: str = "kafka:9092", registry: str = "http://registry") -> None:
    world.create(CONNECTION, name, bootstrapServers=[kafka], registryURL=registry)


def two_schemas(world: OperatorWorld) -> None:
    """Ask twice for one subject, by the connections `kafka` and `other`."""
    for name, connection, schema in (("first", "kafka", FIRST), ("second", "other", SECOND)):
        reference = {"name": connection}
        world.create(SCHEMA, name, subject="orders-value", type="PROTOBUF", schema=schema, connectionRef=reference)


def readiness(world: OperatorWorld) -> list[tuple[str, str]]:
    return [world.ready(SCHEMA, name) for name in ("first", "second")]


async def test_of_two_clusters_with_one_registry_only_one_has_a_subject(world: OperatorWorld) -> None:
    connect(world, "other", kafka="other:9092")
    two_schemas(world)

    await OperatorProcess(world).settle()

    assert readiness(world) == [("True", "InSync"), CONFLICT]
    assert world.registry.versions == {"orders-value": [FIRST]}


async def test_two_registries_behind_one_cluster_do_not_keep_each_other_from_a_subject(world: OperatorWorld) -> None:
    other = world.registries["http://other"] = FakeSubjects()
    connect(world, "other", registry="http://other")
    two_schemas(world)

    await OperatorProcess(world).settle()

    assert readiness(world) == [("True", "InSync"), ("True", "InSync")]
    assert (world.registry.versions, other.versions) == ({"orders-value": [FIRST]}, {"orders-value": [SECOND]})


async def test_a_registry_that_tells_its_id_is_one_under_all_of_its_addresses(world: OperatorWorld) -> None:
    world.registry.id = "cluster/registry"
    world.registries["http://by-another-name"] = world.registry
    connect(world, "other", kafka="other:9092", registry="http://by-another-name")
    operator = OperatorProcess(world)
    await operator.settle()

    two_schemas(world)
    await operator.settle()

    assert readiness(world) == [("True", "InSync"), CONFLICT]
    assert world.body(CONNECTION, "other")["status"]["registry"]["id"] == "cluster/registry"


async def test_contexts_of_one_registry_are_apart(world: OperatorWorld) -> None:
    world.registry.id = "cluster/registry"
    context = world.registries["http://registry/contexts/.other"] = FakeSubjects()
    context.id = world.registry.id
    connect(world, "other", registry="http://registry/contexts/.other")
    two_schemas(world)

    await OperatorProcess(world).settle()

    assert readiness(world) == [("True", "InSync"), ("True", "InSync")]


async def test_a_registry_that_does_not_answer_for_a_while_stays_the_one_that_it_is(world: OperatorWorld) -> None:
    world.registry.id = "cluster/registry"
    operator = OperatorProcess(world)
    await operator.settle()
    before = world.body(CONNECTION, "kafka")["status"]["registry"]

    world.registry.is_away = True
    await operator.visit(CONNECTION, "kafka", failures_before=9)
    world.registry.is_away, world.registry.id = False, None
    await operator.visit(CONNECTION, "kafka")

    assert world.body(CONNECTION, "kafka")["status"]["registry"] == before


async def test_who_had_a_subject_before_an_upgrade_has_it_afterwards(world: OperatorWorld) -> None:
    """An older operator noted the cluster's id alone, and of two of one second let the first have the subject."""
    world.registry.id = "cluster/registry"
    world.registries["http://by-another-name"] = world.registry
    connect(world, "other", registry="http://by-another-name")
    two_schemas(world)
    for name, uid in (("first", "z"), ("second", "a")):
        world.body(SCHEMA, name)["metadata"] |= {"creationTimestamp": "2026-01-01T12:00:00Z", "uid": uid}
    as_an_older_operator_left_it(world)
    world.registry.versions["orders-value"] = [FIRST]
    operator = OperatorProcess(world)
    operator.sync()

    # Of the connections only the second one's schema could tell, and it is looked at before its connection is.
    await operator.visit(CONNECTION, "kafka")
    await operator.visit(SCHEMA, "second", failures_before=9)
    between = list(world.registry.writes)
    await operator.settle()
    await OperatorProcess(world).settle()

    assert between == []
    assert readiness(world) == [("True", "InSync"), CONFLICT]
    assert world.registry.versions == {"orders-value": [FIRST]}


def as_an_older_operator_left_it(world: OperatorWorld) -> None:
    for name in ("kafka", "other"):
        world.body(CONNECTION, name)["status"] = {"clusterID": "fake-cluster", **a_status("True", "Reachable")}
    world.body(SCHEMA, "first")["status"] = {"version": 1, **a_status("True", "InSync")}
    world.body(SCHEMA, "second")["status"] = a_status(*CONFLICT)


def a_status(ready: str, reason: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "reason": reason, "message": "", "observedGeneration": 1}
    return {"observedGeneration": 1, "conditions": [condition]}


async def test_a_schema_waits_until_it_is_known_which_registry_a_changed_address_leads_to(world: OperatorWorld) -> None:
    operator = OperatorProcess(world)
    world.create(SCHEMA, "first", subject="orders-value", type="PROTOBUF", schema=FIRST)
    await operator.settle()
    moved = world.registries["http://moved"] = FakeSubjects()
    world.change(CONNECTION, "kafka", spec={"registryURL": "http://moved"})

    await operator.visit(SCHEMA, "first", failures_before=9)
    before = (world.ready(SCHEMA, "first"), dict(moved.versions))
    await operator.settle()

    assert before == (("Unknown", "RegistryUnidentified"), {})
    assert world.ready(SCHEMA, "first") == ("True", "InSync")
    assert moved.versions == {"orders-value": [FIRST]}


async def test_who_names_a_connection_without_a_registry_keeps_nobody_from_a_subject(world: OperatorWorld) -> None:
    world.create(CONNECTION, "other", bootstrapServers=["kafka:9092"])
    world.create(SCHEMA, "first", subject="s", type="PROTOBUF", schema=FIRST, connectionRef={"name": "other"})
    world.create(SCHEMA, "second", subject="s", type="PROTOBUF", schema=SECOND)

    await OperatorProcess(world).settle()

    assert world.ready(SCHEMA, "second") == ("True", "InSync")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://registry:8081", "http://registry:8081"),
        ("http://Registry:8081/", "http://registry:8081"),
        ("HTTP://registry", "http://registry:80"),
        ("https://registry.example.", "https://registry.example:443"),
        ("https://registry.example:443/apis/ccompat/v7/", "https://registry.example:443/apis/ccompat/v7"),
        ("http://registry.shop.svc.cluster.local:8081", "http://registry.shop:8081"),
        ("http://registry.shop.svc:8081", "http://registry.shop:8081"),
        ("http://[FD00::1]:8081", "http://[fd00::1]:8081"),
        ("https://user:password@registry?token=secret", "https://registry:443"),
        ("http://registry:99999", "http://registry:99999"),
        ("http://[registry", "http://[registry"),
    ],
)
def test_addresses_that_mean_the_same_are_told_alike(url: str, address: str) -> None:
    assert registry_address(url) == address
