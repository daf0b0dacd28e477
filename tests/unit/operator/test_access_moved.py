"""An EventAccess whose connection leads to another Kafka: what is there already stays its owner's."""

from typing import Any

import pytest

from tests.support.fake_kafka_admin import FakeCluster
from tests.support.fake_kafka_users import FakeKafkaUsers
from tests.support.kind_bench import NAMESPACE, KindBench, ProcessDied
from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.kafka_users import KafkaUsers
from tradeflow_operator.clients.kubernetes import KubernetesClient, resource_path
from tradeflow_operator.handlers.event_access import EventAccessKind
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_access import EventAccessSpec, Right
from tradeflow_operator.resources import ObjectKey, Resource
from tradeflow_operator.work.known import KnownResources

ACCESS: dict[str, Any] = {
    "connectionRef": {"name": "kafka"},
    "principal": "ledger",
    "secretName": "ledger-kafka",
    "deletionPolicy": "Delete",
    "topics": [{"name": "orders", "operations": ["Read"]}],
}

THEIRS = Right(on="topic", name="salaries", prefix=False, operation="Read")


class AccessKind(EventAccessKind):
    """Reaches the users of the Kafka to which the connection leads."""

    def __init__(self, world: "MovedWorld", kubernetes: KubernetesClient) -> None:
        super().__init__(
            Connections(kubernetes, world.known, open_fence(), OperatorMetrics(), batch_size=1), kubernetes
        )
        self._world = world

    async def _users(self, resource: Resource[EventAccessSpec]) -> KafkaUsers:
        del resource
        return FakeKafkaUsers(self._world.kafka)


class MovedWorld:
    """A user that was made in one Kafka, and another Kafka."""

    def __init__(self) -> None:
        self.known = KnownResources()
        self.old, self.new = FakeCluster("old"), FakeCluster("new")
        self.kafka = self.old
        self.bench = KindBench(lambda kubernetes: AccessKind(self, kubernetes))
        self.lead_to(self.old)
        self.bench.create("ledger", **ACCESS)

    def lead_to(self, kafka: FakeCluster) -> None:
        """Let the connection lead to a Kafka."""
        self.kafka = kafka
        metadata = {"name": "kafka", "namespace": NAMESPACE, "uid": "c-1", "generation": 1}
        spec = {"bootstrapServers": [f"{kafka.id}:9092"]}
        self.known.put(ObjectKey("KafkaConnection", NAMESPACE, "kafka"), {"metadata": metadata, "spec": spec})

    def has_others(self) -> None:
        """Let the new Kafka have a user of that name that somebody else made."""
        self.new.users["ledger"] = "theirs"
        self.new.rights["ledger"] = {THEIRS}

    async def visit(self) -> tuple[str, str]:
        await self.bench.visit("ledger")
        return self.bench.condition("ledger", "Ready")

    async def delete(self) -> None:
        """Delete the resource, and let the operator clean up."""
        self.bench.cluster.request("DELETE", resource_path("eventaccesses", NAMESPACE, "ledger"), None)
        await self.bench.visit("ledger")
        assert self.bench.found("eventaccesses", "ledger", api="apis/tradeflow.dev/v1alpha1") is None


@pytest.fixture
async def world() -> MovedWorld:
    world = MovedWorld()
    assert await world.visit() == ("True", "InSync")
    assert world.bench.status("ledger")["clusterID"] == "old"
    return world


async def test_a_user_is_made_anew_in_the_kafka_to_which_the_connection_leads(world: MovedWorld) -> None:
    world.lead_to(world.new)

    said = await world.visit()

    assert said == ("True", "InSync")
    assert world.new.users == world.old.users
    assert world.bench.status("ledger")["clusterID"] == "new"


async def test_a_user_of_others_in_that_kafka_keeps_its_password_and_its_rights(world: MovedWorld) -> None:
    world.has_others()
    world.lead_to(world.new)

    told = [await world.visit(), await world.visit()]
    await world.delete()

    assert told == [("False", "AdoptionRefused")] * 2
    assert (world.new.users, world.new.rights) == ({"ledger": "theirs"}, {"ledger": {THEIRS}})


async def test_a_user_is_its_resources_again_where_the_connection_leads_back(world: MovedWorld) -> None:
    world.has_others()
    world.lead_to(world.new)
    await world.visit()
    world.lead_to(world.old)

    said = await world.visit()
    await world.delete()

    assert said == ("True", "InSync")
    assert world.old.users == {}


async def test_a_user_of_others_in_that_kafka_is_taken_over_where_that_is_asked_for(world: MovedWorld) -> None:
    world.has_others()
    world.lead_to(world.new)
    world.bench.change("ledger", spec={"adoptionPolicy": "Adopt"})

    said = await world.visit()

    assert said == ("True", "InSync")
    assert world.new.users == world.old.users
    assert world.new.rights == world.old.rights


async def test_a_user_that_an_older_operator_made_is_its_resources(world: MovedWorld) -> None:
    path = resource_path("eventaccesses", NAMESPACE, "ledger", subresource="status")
    world.bench.cluster.request("PATCH", path, {"status": {"clusterID": None}})

    said = await world.visit()

    assert said == ("True", "InSync")
    assert world.bench.status("ledger")["clusterID"] == "old"


async def test_a_user_is_made_in_another_kafka_wherever_the_process_dies(world: MovedWorld) -> None:
    world.lead_to(world.new)
    world.bench.begin_process()
    await world.visit()
    calls = world.bench.kubernetes.calls

    for call in range(1, calls + 1):
        for after in (False, True):
            other = MovedWorld()
            await other.visit()
            other.lead_to(other.new)
            other.bench.begin_process(dies_at_call=call, after=after)
            with pytest.raises(ProcessDied):
                await other.visit()
            other.bench.begin_process()

            assert await other.visit() == ("True", "InSync"), (call, after)
            assert other.new.users == other.old.users
