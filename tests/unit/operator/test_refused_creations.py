"""What Kafka or the registry refused to make isn't ours, should somebody else make it one day."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.crashes import Fuse, ProcessDied
from tests.support.fake_kafka_admin import FakeCluster, FakeTopic
from tests.support.fake_kafka_users import FakeKafkaUsers
from tests.support.kind_bench import NAMESPACE, KindBench
from tests.support.kind_bench import ProcessDied as BenchDied
from tests.support.operator_world import OperatorProcess, OperatorWorld
from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.kafka_users import KafkaUsers
from tradeflow_operator.clients.kubernetes import KubernetesClient, resource_path
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.handlers.event_access import EventAccessKind
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_access import EventAccessSpec
from tradeflow_operator.resources import FORCE_ANNOTATION, ObjectKey, Resource
from tradeflow_operator.work.known import KnownResources

TOPIC, SCHEMA = "EventTopic", "EventSchema"
NEVER: dict[str, Any] = {"adoptionPolicy": "Never", "deletionPolicy": "Delete", "allowDataLoss": "orders"}
CONFIG = {"retention.ms": "60000"}
CONNECTION: dict[str, Any] = {
    "metadata": {"name": "kafka", "namespace": NAMESPACE, "uid": "c-1", "generation": 1},
    "spec": {"bootstrapServers": ["kafka:9092"]},
}


class Trigger(Fuse):
    """Does something at a point."""

    def __init__(self, at: str, does: Callable[[], None]) -> None:
        super().__init__()
        self._at, self._does = at, does

    def pass_point(self, name: str) -> None:
        super().pass_point(name)
        if name == self._at:
            self._does()


@pytest.fixture
def world() -> OperatorWorld:
    return OperatorWorld()


async def test_a_topic_that_others_make_after_ours_was_refused_is_not_ours(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3, replicas=3, config=CONFIG, **NEVER)
    await OperatorProcess(world).visit(TOPIC, "orders")
    assert world.ready(TOPIC, "orders") == ("False", "KafkaRefused")

    world.kafka.topics["orders"] = FakeTopic("of-another-team", 3, 3)
    await OperatorProcess(world).visit(TOPIC, "orders")
    told = world.ready(TOPIC, "orders")
    world.delete(TOPIC, "orders")
    await OperatorProcess(world).visit(TOPIC, "orders")

    assert told == ("False", "AdoptionRefused")
    assert world.kafka.topics["orders"].config == {}
    assert not world.exists(TOPIC, "orders")


async def test_a_forced_creation_that_is_refused_makes_no_later_topic_ours(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3, keyed=False)
    await OperatorProcess(world).visit(TOPIC, "orders")
    world.kafka.topics.clear()
    world.change(
        TOPIC, "orders", metadata={"annotations": {FORCE_ANNOTATION: "1"}}, spec={"config": {"retention.ms": "long"}}
    )
    await OperatorProcess(world).visit(TOPIC, "orders")
    refused = world.ready(TOPIC, "orders")

    world.kafka.topics["orders"] = FakeTopic("of-another-team", 1, 1)
    await OperatorProcess(world).visit(TOPIC, "orders")

    assert refused == ("False", "KafkaRefused")
    assert world.ready(TOPIC, "orders") == ("False", "AdoptionRefused")
    assert world.kafka.topics["orders"].partitions == 1


async def test_a_creation_that_is_refused_after_a_crash_leaves_nothing_in_doubt(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3, replicas=3, **NEVER)
    with pytest.raises(ProcessDied):
        await OperatorProcess(world, Trigger("before create orders", _die)).visit(TOPIC, "orders")
    in_doubt = world.body(TOPIC, "orders")["status"].get("creating")

    await OperatorProcess(world).visit(TOPIC, "orders")

    assert (in_doubt, world.body(TOPIC, "orders")["status"].get("creating")) == (True, None)


async def test_a_creation_without_an_answer_is_known_as_ours(world: OperatorWorld) -> None:
    def lose_the_answer() -> None:
        raise UnavailableError("Kafka can't create it in 5 s.", reason="KafkaUnreachable")

    world.create(TOPIC, "orders", partitions=3, **NEVER)
    await OperatorProcess(world, Trigger("after create orders", lose_the_answer)).visit(TOPIC, "orders")
    in_doubt = world.body(TOPIC, "orders")["status"].get("creating")

    await OperatorProcess(world).visit(TOPIC, "orders")

    assert in_doubt is True
    assert world.ready(TOPIC, "orders") == ("True", "InSync")


async def test_a_topic_that_others_make_at_this_moment_is_not_ours(world: OperatorWorld) -> None:
    def be_quicker() -> None:
        world.kafka.topics["orders"] = FakeTopic("of-another-team", 3, 1)

    world.create(TOPIC, "orders", partitions=3, config=CONFIG, **NEVER)
    await OperatorProcess(world, Trigger("before create orders", be_quicker)).visit(TOPIC, "orders")
    await OperatorProcess(world).visit(TOPIC, "orders")

    assert world.ready(TOPIC, "orders") == ("False", "AdoptionRefused")
    assert world.kafka.topics["orders"].config == {}


async def test_a_level_that_others_set_after_ours_was_refused_is_not_put_back(world: OperatorWorld) -> None:
    def refuse() -> None:
        raise RefusedError("The registry doesn't let this user in.", reason="RegistryForbidden")

    first = 'syntax = "proto3"; message A { string a = 1; string b = 2; }'
    without_b = 'syntax = "proto3"; message A { string a = 1; }'
    world.registry.versions["orders-value"] = [first]
    spec: dict[str, Any] = {"subject": "orders-value", "type": "PROTOBUF", "schema": without_b, "compatibility": "FULL"}
    world.create(SCHEMA, "orders", **spec)
    await OperatorProcess(world, Trigger("before set orders-value to FULL", refuse)).visit(SCHEMA, "orders")
    refused = world.ready(SCHEMA, "orders")

    world.registry.levels["orders-value"] = "FULL"
    await OperatorProcess(world).visit(SCHEMA, "orders")

    assert refused == ("False", "RegistryForbidden")
    assert world.ready(SCHEMA, "orders") == ("False", "Incompatible")
    assert world.registry.levels == {"orders-value": "FULL"}


class AccessKind(EventAccessKind):
    """Reaches the fake Kafka's users."""

    def __init__(self, kubernetes: KubernetesClient, kafka: FakeCluster) -> None:
        known = KnownResources()
        known.put(ObjectKey("KafkaConnection", NAMESPACE, "kafka"), CONNECTION)
        connections = Connections(kubernetes, known, open_fence(), OperatorMetrics(), batch_size=1)
        super().__init__(connections, kubernetes)
        self._kafka = kafka

    async def _users(self, resource: Resource[EventAccessSpec]) -> KafkaUsers:
        del resource
        return FakeKafkaUsers(self._kafka)


ACCESS: dict[str, Any] = {
    "connectionRef": {"name": "kafka"},
    "principal": "ledger",
    "secretName": "ledger-kafka",
    "deletionPolicy": "Delete",
    "topics": [{"name": "orders", "operations": ["Read"]}],
}


async def refused_access() -> tuple[KindBench, FakeCluster]:
    """Ask for a user that Kafka refuses to make."""
    kafka = FakeCluster()
    kafka.makes_no_users = True
    bench = KindBench(lambda kubernetes: AccessKind(kubernetes, kafka))
    bench.create("ledger", **ACCESS)
    await bench.visit("ledger")
    assert bench.condition("ledger", "Ready") == ("False", "KafkaForbidden")
    kafka.makes_no_users = False
    return bench, kafka


async def test_a_user_that_others_make_after_ours_was_refused_is_not_ours() -> None:
    bench, kafka = await refused_access()
    kafka.users["ledger"] = "theirs"

    told = []
    for _ in range(2):
        bench.begin_process()
        await bench.visit("ledger")
        told.append(bench.condition("ledger", "Ready"))

    assert told == [("False", "AdoptionRefused")] * 2
    assert kafka.users == {"ledger": "theirs"}


async def test_a_user_that_others_made_stays_when_the_resource_goes_whose_own_was_refused() -> None:
    bench, kafka = await refused_access()
    kafka.users["ledger"] = "theirs"
    path = resource_path("eventaccesses", NAMESPACE, "ledger")
    bench.cluster.request("DELETE", path, None)
    held = path in bench.cluster.objects

    await bench.visit("ledger")

    assert (held, path in bench.cluster.objects) == (True, False)
    assert kafka.users == {"ledger": "theirs"}


async def test_a_user_that_others_made_is_taken_over_where_that_is_asked_for() -> None:
    bench, kafka = await refused_access()
    kafka.users["ledger"] = "theirs"
    bench.change("ledger", spec={"adoptionPolicy": "Adopt"})

    await bench.visit("ledger")

    assert bench.condition("ledger", "Ready") == ("True", "InSync")
    assert kafka.users["ledger"] != "theirs"
    assert "userRefused" not in bench.status("ledger")


async def test_a_user_that_is_made_after_all_is_ours_wherever_the_process_dies() -> None:
    quiet, _ = await refused_access()
    quiet.begin_process()
    await quiet.visit("ledger")
    assert quiet.condition("ledger", "Ready") == ("True", "InSync")

    for call in range(1, quiet.kubernetes.calls + 1):
        for after in (False, True):
            bench, kafka = await refused_access()
            bench.begin_process(dies_at_call=call, after=after)
            with pytest.raises(BenchDied):
                await bench.visit("ledger")
            bench.begin_process()
            await bench.visit("ledger")
            assert bench.condition("ledger", "Ready") == ("True", "InSync"), (call, after)
            assert list(kafka.users) == ["ledger"]


def _die() -> None:
    raise ProcessDied
