"""The operator dies before and after each of its writes, in turn; the next process ends where it would have."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.crashes import Fuse, ProcessDied
from tests.support.fake_kafka_admin import FakeTopic
from tests.support.operator_world import NAMESPACE, OperatorProcess, OperatorWorld
from tradeflow_operator.reconcile.event_topic import GROW_ANNOTATION

TOPIC, SCHEMA = "EventTopic", "EventSchema"
FIRST = 'syntax = "proto3"; message A { string a = 1; }'
SECOND = 'syntax = "proto3"; message A { string a = 1; string b = 2; }'
BROKEN = 'syntax = "proto3"; message A { string c = 3; }'

REJECTION_WRITES = 2
"""A rejection that is cut between putting the level back and noting it sets the level and puts it back again."""

Settle = Callable[[], Awaitable[None]]


async def live_a_topics_life(world: OperatorWorld, settle: Settle) -> None:
    """Create, configure, grow and delete a topic."""
    more: dict[str, Any] = {"deletionPolicy": "Delete", "allowDataLoss": "orders", "adoptionPolicy": "Never"}
    world.create(TOPIC, "orders", partitions=3, config={"retention.ms": "1000"}, **more)
    await settle()
    assert world.ready(TOPIC, "orders") == ("True", "InSync")
    world.change(TOPIC, "orders", spec={"config": {"retention.ms": "2000"}})
    await settle()
    world.change(TOPIC, "orders", spec={"partitions": 6}, metadata={"annotations": {GROW_ANNOTATION: "6"}})
    await settle()
    assert world.kafka.topics["orders"].partitions == 6
    assert world.kafka.topics["orders"].config == {"retention.ms": "2000"}
    assert world.ready(TOPIC, "orders") == ("True", "InSync")
    world.delete(TOPIC, "orders")
    await settle()
    assert not world.exists(TOPIC, "orders")
    assert world.kafka.topics == {}


async def live_a_schemas_life(world: OperatorWorld, settle: Settle) -> None:
    """Register two versions, have one rejected after its level was set, and soft-delete the subject."""
    spec: dict[str, Any] = {"subject": "orders-value", "type": "PROTOBUF"}
    spec |= {"compatibility": "BACKWARD", "deletionPolicy": "Delete"}
    world.create(SCHEMA, "orders", schema=FIRST, **spec)
    await settle()
    world.change(SCHEMA, "orders", spec={"schema": SECOND})
    await settle()
    assert world.ready(SCHEMA, "orders") == ("True", "InSync")
    world.registry.checks_only_when_registering = True
    world.change(SCHEMA, "orders", spec={"schema": BROKEN, "compatibility": "FULL"})
    await settle()
    assert world.ready(SCHEMA, "orders") == ("False", "Incompatible")
    assert world.registry.levels == {"orders-value": "BACKWARD"}
    assert world.registry.versions == {"orders-value": [FIRST, SECOND]}
    world.change(SCHEMA, "orders", spec={"schema": SECOND, "compatibility": "BACKWARD"})
    await settle()
    assert world.ready(SCHEMA, "orders") == ("True", "InSync")
    world.delete(SCHEMA, "orders")
    await settle()
    assert not world.exists(SCHEMA, "orders")
    assert world.registry.versions == {}


async def _lived(live: Callable[[OperatorWorld, Settle], Awaitable[None]], fuse: Fuse) -> OperatorWorld:
    """Live a life with one process, and with another one after it died."""
    world = OperatorWorld()
    process = OperatorProcess(world, fuse)

    async def settle() -> None:
        nonlocal process
        try:
            await process.settle()
        except ProcessDied:
            process = OperatorProcess(world)
            await process.settle()

    await live(world, settle)
    return world


@pytest.mark.parametrize("live", [live_a_topics_life, live_a_schemas_life])
async def test_a_life_that_is_cut_anywhere_ends_as_an_undisturbed_one(live: Any) -> None:
    undisturbed = Fuse()
    quiet = await _lived(live, undisturbed)
    assert len(undisturbed.passed) > 15

    for point, name in enumerate(undisturbed.passed):
        fuse = Fuse(dies_at=point)
        cut = await _lived(live, fuse)
        assert fuse.passed[point] == name
        # What Kafka and the registry were told once they aren't told again.
        assert cut.kafka.writes == quiet.kafka.writes, name
        assert set(cut.registry.writes) == set(quiet.registry.writes), name
        assert len(cut.registry.writes) <= len(quiet.registry.writes) + REJECTION_WRITES, name


async def test_a_topic_that_others_made_during_a_crash_is_not_deleted() -> None:
    world = OperatorWorld()
    world.create(TOPIC, "orders", partitions=3, deletionPolicy="Delete", allowDataLoss="orders")
    fuse = Fuse()
    await OperatorProcess(world, fuse).settle()
    world = OperatorWorld()
    world.create(TOPIC, "orders", partitions=3, deletionPolicy="Delete", allowDataLoss="orders")
    with pytest.raises(ProcessDied):
        await OperatorProcess(world, Fuse(dies_at=fuse.passed.index("before create orders"))).settle()
    world.kafka.topics["orders"] = FakeTopic("stranger", 9, 1)

    world.delete(TOPIC, "orders")
    await OperatorProcess(world).settle()

    assert world.kafka.topics["orders"].id == "stranger"
    assert not world.exists(TOPIC, "orders")


def make_topic(world: OperatorWorld, policy: str) -> None:
    world.create(TOPIC, "orders", partitions=3, deletionPolicy="Delete", allowDataLoss="orders", adoptionPolicy=policy)


def make_schema(world: OperatorWorld) -> None:
    world.create(SCHEMA, "orders", subject="orders-value", type="PROTOBUF", schema=FIRST, deletionPolicy="Delete")


async def _points(prepare: Callable[[OperatorWorld], Awaitable[None]]) -> list[str]:
    """List the points at which a process can die that serves what was prepared."""
    world, fuse = OperatorWorld(), Fuse()
    await prepare(world)
    await OperatorProcess(world, fuse).settle()
    return fuse.passed


async def _cut_and_deleted(prepare: Callable[[OperatorWorld], Awaitable[None]], point: int, kind: str) -> OperatorWorld:
    """Delete the resource before anybody saw what the dead process had done."""
    world = OperatorWorld()
    await prepare(world)
    with pytest.raises(ProcessDied):
        await OperatorProcess(world, Fuse(dies_at=point)).settle()
    world.delete(kind, "orders")
    await OperatorProcess(world).settle()
    assert not world.exists(kind, "orders")
    return world


@pytest.mark.parametrize("policy", ["Never", "Adopt"])
async def test_a_topic_that_is_deleted_while_the_operator_is_dead_leaves_nothing_behind(policy: str) -> None:
    async def prepare(world: OperatorWorld) -> None:
        make_topic(world, policy)

    points = await _points(prepare)
    assert "after create orders" in points
    for point, name in enumerate(points):
        world = await _cut_and_deleted(prepare, point, TOPIC)
        assert world.kafka.topics == {}, name


async def test_a_schema_that_is_deleted_while_the_operator_is_dead_leaves_nothing_behind() -> None:
    async def prepare(world: OperatorWorld) -> None:
        make_schema(world)

    points = await _points(prepare)
    for point, name in enumerate(points):
        world = await _cut_and_deleted(prepare, point, SCHEMA)
        assert world.registry.versions == {}, name


async def test_a_schema_whose_newest_version_nobody_saw_leaves_nothing_behind() -> None:
    async def prepare(world: OperatorWorld) -> None:
        make_schema(world)
        await OperatorProcess(world).settle()
        world.change(SCHEMA, "orders", spec={"schema": SECOND})

    points = await _points(prepare)
    for point, name in enumerate(points):
        world = await _cut_and_deleted(prepare, point, SCHEMA)
        assert world.registry.versions == {}, name


async def test_a_schema_goes_that_nobody_can_read_and_leaves_the_versions_of_others() -> None:
    world = OperatorWorld()
    make_schema(world)
    process = OperatorProcess(world)
    await process.settle()
    world.registry.versions["orders-value"].append(SECOND)
    world.change(SCHEMA, "orders", spec={"schema": "no protobuf"})
    await process.settle()
    assert world.ready(SCHEMA, "orders") == ("False", "SchemaInvalid")

    world.delete(SCHEMA, "orders")
    await process.settle()

    assert not world.exists(SCHEMA, "orders")
    assert world.registry.versions == {"orders-value": [FIRST, SECOND]}


async def test_a_schema_whose_last_change_was_rejected_leaves_nothing_behind() -> None:
    world = OperatorWorld()
    make_schema(world)
    process = OperatorProcess(world)
    await process.settle()
    world.change(SCHEMA, "orders", spec={"schema": BROKEN, "compatibility": "FULL"})
    await process.settle()
    assert world.ready(SCHEMA, "orders") == ("False", "Incompatible")

    world.delete(SCHEMA, "orders")
    await process.settle()

    assert not world.exists(SCHEMA, "orders")
    assert world.registry.versions == {}


async def test_a_schema_goes_whose_config_map_went_first() -> None:
    world = OperatorWorld()
    metadata = {"name": "schemas", "namespace": NAMESPACE}
    world.cluster.put(f"/api/v1/namespaces/{NAMESPACE}/configmaps", {"metadata": metadata, "data": {"orders": FIRST}})
    source = {"configMap": "schemas", "key": "orders", "sha256": hashlib.sha256(FIRST.encode()).hexdigest()}
    world.create(SCHEMA, "orders", subject="orders-value", type="PROTOBUF", schemaFrom=source, deletionPolicy="Delete")
    process = OperatorProcess(world)
    await process.settle()
    assert world.ready(SCHEMA, "orders") == ("True", "InSync")
    world.registry.versions["orders-value"].append(SECOND)

    world.cluster.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/configmaps/schemas", None)
    world.delete(SCHEMA, "orders")
    await process.settle()

    assert not world.exists(SCHEMA, "orders")
    assert world.registry.versions == {"orders-value": [FIRST, SECOND]}
