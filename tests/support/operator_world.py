"""An operator's life on fakes: resources, Kafka and a registry outlive the process, which dies where a test wants."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.crashes import Fuse
from tests.support.fake_kafka_admin import FakeCluster as FakeKafkaCluster
from tests.support.fake_kafka_admin import FakeKafkaAdmin
from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes, conditions_of
from tests.support.fake_schema_registry import FakeRegistryClient, FakeSubjects
from tradeflow_operator.clients.connections import Clients, Connections
from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.kubernetes import resource_path
from tradeflow_operator.handlers.event_schema import EventSchemaKind
from tradeflow_operator.handlers.event_topic import EventTopicKind
from tradeflow_operator.handlers.kafka_connection import KafkaConnectionKind
from tradeflow_operator.kinds import Kind, Kinds
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.connection import KafkaConnectionSpec
from tradeflow_operator.resources import ObjectKey, Resource
from tradeflow_operator.work.intake import Intake
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.queue import WorkQueue
from tradeflow_operator.work.status_writer import StatusWriter
from tradeflow_operator.work.visit import Outcome, Visitor

NAMESPACE = "shop"

PLURALS = {"KafkaConnection": "kafkaconnections", "EventTopic": "eventtopics", "EventSchema": "eventschemas"}
"""Of the kinds that live here."""


class FakeConnections(Connections):
    """Finds connections as the real ones do, and gives out the fakes."""

    def __init__(self, world: "OperatorWorld", known: KnownResources, fence: Fence, fuse: Fuse) -> None:
        super().__init__(FakeKubernetes(world.cluster, fence), known, fence, OperatorMetrics(), batch_size=200)
        self._world = world
        self._fence = fence
        self._fuse = fuse

    async def clients(self, connection: Resource[KafkaConnectionSpec]) -> Clients:
        kafka = self._world.kafkas[connection.spec.bootstrap_servers[0]]
        url = connection.spec.registry_url
        registry = FakeRegistryClient(self._world.registries[url], self._fence, self._fuse.pass_point) if url else None
        return Clients(kafka=FakeKafkaAdmin(kafka, self._fence, self._fuse.pass_point), registry=registry, made_from=())


class OperatorWorld:
    """What outlives a process."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.kafka = FakeKafkaCluster()
        self.registry = FakeSubjects()
        self.kafkas = {"kafka:9092": self.kafka}
        """By the server that a connection names first."""
        self.registries = {"http://registry": self.registry}
        """By the URL that a connection has."""
        self.cluster.put("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self.create("KafkaConnection", "kafka", bootstrapServers=["kafka:9092"], registryURL="http://registry")

    def create(
        self, kind: str, name: str, *, annotations: Mapping[str, str] | None = None, **spec: Any
    ) -> dict[str, Any]:
        if kind != "KafkaConnection":
            spec = {"connectionRef": {"name": "kafka"}, **spec}
        metadata = {"name": name, "annotations": dict(annotations or {})}
        return self.cluster.put(resource_path(PLURALS[kind], NAMESPACE), {"metadata": metadata, "spec": spec})

    def change(self, kind: str, name: str, **fields: Any) -> None:
        self.cluster.request("PATCH", self.path(kind, name), fields)

    def delete(self, kind: str, name: str) -> None:
        self.cluster.request("DELETE", self.path(kind, name), None)

    def path(self, kind: str, name: str) -> str:
        return resource_path(PLURALS[kind], NAMESPACE, name)

    def body(self, kind: str, name: str) -> dict[str, Any]:
        return self.cluster.objects[self.path(kind, name)]

    def exists(self, kind: str, name: str) -> bool:
        return self.path(kind, name) in self.cluster.objects

    def conditions(self, kind: str, name: str) -> dict[str, dict[str, Any]]:
        return conditions_of(self.body(kind, name))

    def ready(self, kind: str, name: str) -> tuple[str, str]:
        """Return the status and the reason of Ready."""
        ready = self.conditions(kind, name)["Ready"]
        return ready["status"], ready["reason"]


class OperatorProcess:
    """One life of the operator."""

    def __init__(self, world: OperatorWorld, fuse: Fuse | None = None, fence: Fence | None = None) -> None:
        self.world = world
        fence, fuse = fence or open_fence(), fuse or Fuse()
        self.known, self.queue = KnownResources(), WorkQueue()
        kubernetes = _MortalKubernetes(world.cluster, fence, fuse)
        connections = FakeConnections(world, self.known, fence, fuse)
        kinds: Sequence[Kind[Any, Any]] = (
            KafkaConnectionKind(connections),
            EventTopicKind(connections, kubernetes),
            EventSchemaKind(connections, kubernetes, OperatorMetrics()),
        )
        self.kinds = Kinds(kinds)
        self.intake = Intake(self.kinds, self.known, self.queue)
        self.visitor = Visitor(self.known, kubernetes, StatusWriter(kubernetes))

    def sync(self) -> None:
        """Tell what is there, as watches do."""
        there: set[ObjectKey] = set()
        for path, body in list(self.world.cluster.objects.items()):
            for kind, plural in PLURALS.items():
                if f"/{plural}/" in path:
                    there.add(ObjectKey(kind, NAMESPACE, body["metadata"]["name"]))
                    self.intake.note(kind, None, body)
        for key, _ in list(self.known.all()):
            if key not in there:
                self.intake.gone(key)

    async def visit(self, kind: str, name: str, *, failures_before: int = 0) -> Outcome:
        """Visit one resource now."""
        self.sync()
        key = ObjectKey(kind, NAMESPACE, name)
        outcome = await self.visitor.visit(self.kinds[kind], key, failures_before=failures_before)
        self.sync()
        return outcome

    async def settle(self) -> None:
        """Work until nothing waits."""
        self.sync()
        for _ in range(100):
            if not len(self.queue):
                return
            key = await self.queue.take()
            await self.visitor.visit(self.kinds[key.kind], key, failures_before=2)
            self.queue.done(key)
            self.sync()
        raise AssertionError("it doesn't settle")


class _MortalKubernetes(FakeKubernetes):
    """Dies before or after a write."""

    def __init__(self, cluster: FakeCluster, fence: Fence, fuse: Fuse) -> None:
        super().__init__(cluster, fence)
        self._fuse = fuse

    async def _write(self, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        self._fuse.pass_point(f"before {method} {path}")
        answer = await super()._write(method, path, **more)
        self._fuse.pass_point(f"after {method} {path}")
        return answer
