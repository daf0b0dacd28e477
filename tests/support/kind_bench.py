"""A kind of the operator with a visitor and a cluster in memory, whose process can die at any of its calls."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes, conditions_of
from tradeflow_operator.clients.kubernetes import KubernetesClient, resource_path
from tradeflow_operator.kinds import Kind, Kinds
from tradeflow_operator.resources import ObjectKey
from tradeflow_operator.work.intake import Intake
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.queue import WorkQueue
from tradeflow_operator.work.status_writer import StatusWriter
from tradeflow_operator.work.visit import Outcome, Visitor

NAMESPACE = "shop"


class ProcessDied(BaseException):
    """SIGKILL, as far as a process can feel it."""


class MortalKubernetes(FakeKubernetes):
    """A client that dies at its n-th call, before the call or after it took effect."""

    def __init__(self, cluster: FakeCluster, *, dies_at_call: int | None = None, after: bool = False) -> None:
        super().__init__(cluster)
        self.calls = 0
        self._dies_at_call = dies_at_call
        self._after = after

    async def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        self.calls += 1
        if self.calls == self._dies_at_call and not self._after:
            raise ProcessDied
        answer = await super()._ask(method, path, **more)
        if self.calls == self._dies_at_call:
            raise ProcessDied
        return answer


class KindBench:
    """One operator process after the other on one cluster."""

    def __init__(self, make_kind: Callable[[KubernetesClient], Kind[Any, Any]]) -> None:
        self.cluster = FakeCluster()
        self._make_kind = make_kind
        self.begin_process()

    def begin_process(self, *, dies_at_call: int | None = None, after: bool = False) -> None:
        """Begin with an empty memory."""
        self.kubernetes = MortalKubernetes(self.cluster, dies_at_call=dies_at_call, after=after)
        self.kind = self._make_kind(self.kubernetes)
        self._known, self._queue = KnownResources(), WorkQueue()
        self._intake = Intake(Kinds([self.kind]), self._known, self._queue)
        self._visitor = Visitor(self._known, self.kubernetes, StatusWriter(self.kubernetes))

    def create(self, name: str, annotations: Mapping[str, str] | None = None, **spec: Any) -> dict[str, Any]:
        metadata = {"name": name, "annotations": dict(annotations or {})}
        return self.cluster.put(resource_path(self.kind.plural, NAMESPACE), {"metadata": metadata, "spec": spec})

    def change(self, name: str, **fields: Any) -> None:
        self.cluster.request("PATCH", resource_path(self.kind.plural, NAMESPACE, name), fields)

    async def visit(self, name: str) -> Outcome:
        for path, body in list(self.cluster.objects.items()):
            if f"/{self.kind.plural}/" in path:
                self._intake.note(self.kind.name, None, body)
        return await self._visitor.visit(self.kind, ObjectKey(self.kind.name, NAMESPACE, name), failures_before=0)

    def body(self, name: str) -> dict[str, Any]:
        return self.cluster.objects[resource_path(self.kind.plural, NAMESPACE, name)]

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.body(name).get("status") or {})

    def condition(self, name: str, of_type: str) -> tuple[str, str]:
        """Return a condition's status and reason."""
        condition = conditions_of(self.body(name))[of_type]
        return condition["status"], condition["reason"]

    def found(self, plural: str, name: str, *, api: str = "api/v1") -> dict[str, Any] | None:
        """Return any object of the namespace."""
        return self.cluster.objects.get(f"/{api}/namespaces/{NAMESPACE}/{plural}/{name}")
