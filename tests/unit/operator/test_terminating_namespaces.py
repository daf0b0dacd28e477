"""Rule 1: a namespace never hangs, in whatever order Kubernetes deletes what is in it."""

from typing import Any

import pytest

from tests.support.operator_world import NAMESPACE, OperatorProcess, OperatorWorld
from tradeflow_operator.errors import RefusedError
from tradeflow_operator.work.visit import FAILURES_BEFORE_LETTING_GO

TOPIC, SCHEMA, CONNECTION = "EventTopic", "EventSchema", "KafkaConnection"

A_TOPIC: dict[str, Any] = {"partitions": 3, "deletionPolicy": "Delete", "allowDataLoss": "orders"}
A_SCHEMA: dict[str, Any] = {
    "subject": "orders",
    "type": "PROTOBUF",
    "schema": 'syntax = "proto3"; message A { string a = 1; }',
    "deletionPolicy": "Delete",
}


@pytest.fixture(params=[(TOPIC, A_TOPIC), (SCHEMA, A_SCHEMA)], ids=[TOPIC, SCHEMA])
async def world(request: pytest.FixtureRequest) -> OperatorWorld:
    """A resource that has to delete something outside, in sync."""
    world = OperatorWorld()
    kind, spec = request.param
    world.create(kind, "orders", **spec)
    await OperatorProcess(world).settle()
    assert world.body(kind, "orders")["metadata"]["finalizers"]
    return world


def terminate(world: OperatorWorld) -> None:
    world.cluster.objects[f"/api/v1/namespaces/{NAMESPACE}"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def kind_in(world: OperatorWorld) -> str:
    return TOPIC if world.exists(TOPIC, "orders") else SCHEMA


async def visit_until_let_go(world: OperatorWorld, kind: str) -> int:
    """Return how many visits it took."""
    operator = OperatorProcess(world)
    for failures in range(FAILURES_BEFORE_LETTING_GO + 1):
        await operator.visit(kind, "orders", failures_before=failures)
        if not world.exists(kind, "orders"):
            return failures + 1
    raise AssertionError(f"the namespace hangs on {kind} orders: {world.ready(kind, 'orders')}")


async def test_rule_1_a_connection_that_goes_first_holds_up_no_namespace(world: OperatorWorld) -> None:
    kind = kind_in(world)
    terminate(world)
    world.delete(CONNECTION, "kafka")
    world.delete(kind, "orders")

    await visit_until_let_go(world, kind)

    assert world.kafka.topics or world.registry.versions
    # The namespace itself takes no Event any more.
    (event,) = world.cluster.events()
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Namespace", "name": NAMESPACE}
    assert event["reason"] == "Retained"
    assert event["type"] == "Warning"
    assert f"{kind} {NAMESPACE}/orders" in event["message"]


async def test_rule_1_a_connection_that_is_known_late_is_waited_for(world: OperatorWorld) -> None:
    kind = kind_in(world)
    terminate(world)
    connection = world.cluster.objects.pop(world.path(CONNECTION, "kafka"))
    world.delete(kind, "orders")
    operator = OperatorProcess(world)
    await operator.visit(kind, "orders", failures_before=0)

    world.cluster.objects[world.path(CONNECTION, "kafka")] = connection
    await operator.settle()

    assert not world.exists(kind, "orders")
    assert not world.kafka.topics
    assert not world.registry.versions


async def test_rule_1_servers_that_are_away_hold_up_no_namespace_for_ever(world: OperatorWorld) -> None:
    kind = kind_in(world)
    world.kafka.is_away = world.registry.is_away = True
    terminate(world)
    world.delete(kind, "orders")

    assert await visit_until_let_go(world, kind) == FAILURES_BEFORE_LETTING_GO + 1


async def test_rule_1_a_deletion_that_is_refused_for_good_holds_up_no_namespace(
    world: OperatorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = kind_in(world)
    operator = OperatorProcess(world)
    served = operator.kinds[kind]

    async def observe(resource: object) -> None:
        del resource
        raise RefusedError("The user may not look.", reason="KafkaForbidden")

    monkeypatch.setattr(served, "observe", observe)
    world.delete(kind, "orders")
    outcome = await operator.visit(kind, "orders")
    assert world.ready(kind, "orders") == ("False", "KafkaForbidden")
    assert outcome.again_seconds is not None

    terminate(world)
    await operator.visit(kind, "orders")

    assert not world.exists(kind, "orders")


async def test_rule_1_outside_of_a_namespace_that_goes_a_deletion_waits_for_its_servers(world: OperatorWorld) -> None:
    kind = kind_in(world)
    world.kafka.is_away = world.registry.is_away = True
    world.delete(kind, "orders")
    operator = OperatorProcess(world)
    for failures in range(FAILURES_BEFORE_LETTING_GO + 3):
        outcome = await operator.visit(kind, "orders", failures_before=failures)
        assert outcome.failed
    assert world.exists(kind, "orders")

    world.kafka.is_away = world.registry.is_away = False
    await operator.visit(kind, "orders", failures_before=9)

    assert not world.exists(kind, "orders")
    assert not world.kafka.topics
    assert not world.registry.versions
