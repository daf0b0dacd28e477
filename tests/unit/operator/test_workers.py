"""What the workers remember of a resource between two visits, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from tests.support.a_kind import NumberKind, NumberSpec
from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes
from tests.support.waiting import eventually
from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.kubernetes import resource_path
from tradeflow_operator.kinds import Kinds
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.plan import Plan, refused
from tradeflow_operator.resources import Resource
from tradeflow_operator.work.intake import GONE, Intake
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.lease import Leadership
from tradeflow_operator.work.queue import WorkQueue
from tradeflow_operator.work.status_writer import StatusWriter
from tradeflow_operator.work.visit import Visitor
from tradeflow_operator.work.worker import Workers, WorkLimits

PATH = resource_path("numbers", "shop", "seven")


class DifferingKind(NumberKind):
    """Finds a difference that it may not mend."""

    def plan(self, resource: Resource[NumberSpec], observed: int | None, now: datetime) -> Plan:
        del resource, observed, now
        return Plan(verdict=refused("Differs", "It differs.", drifted=True))


class Bench:
    """Workers on a cluster in memory, and what Prometheus is told."""

    def __init__(self) -> None:
        self.cluster, self.fence = FakeCluster(), open_fence()
        self.metrics = OperatorMetrics()
        known, queue, kinds = KnownResources(), WorkQueue(), Kinds([DifferingKind()])
        kubernetes = FakeKubernetes(self.cluster, self.fence)
        self.intake = Intake(kinds, known, queue)
        self._workers = Workers(
            kinds,
            known,
            queue,
            Visitor(known, kubernetes, StatusWriter(kubernetes)),
            _leading(kubernetes, self.fence),
            self.metrics,
            WorkLimits(workers=1, resync_seconds=300.0, backoff_longest_seconds=1.0),
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._workers.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def drift_seconds(self) -> float:
        return self.metrics.registry.get_sample_value("tradeflow_operator_drift_seconds", {"kind": "Number"}) or 0.0

    def conflicts(self) -> float | None:
        return self.metrics.registry.get_sample_value("tradeflow_operator_conflicts", {"kind": "Number"})


def _leading(kubernetes: FakeKubernetes, fence: Fence) -> Leadership:
    return Leadership(
        kubernetes, fence, namespace="shop", name="lease", identity="me", lease_seconds=12, renew_seconds=2.0
    )


async def a_drifting_resource(bench: Bench) -> None:
    bench.cluster.put(resource_path("numbers", "shop"), {"metadata": {"name": "seven"}, "spec": {"number": 7}})
    bench.intake.note("Number", None, bench.cluster.objects[PATH])
    await eventually(lambda: bench.drift_seconds() > 0)


async def test_the_drift_of_a_resource_ends_with_it() -> None:
    bench = Bench()
    async with bench.working():
        await a_drifting_resource(bench)

        bench.intake.note("Number", GONE, bench.cluster.objects.pop(PATH))

        await eventually(lambda: bench.drift_seconds() == 0.0)


async def test_who_leads_no_more_tells_of_no_drift() -> None:
    bench = Bench()
    async with bench.working():
        await a_drifting_resource(bench)

        bench.fence.close()

        await eventually(lambda: bench.drift_seconds() == 0.0)


async def test_conflicts_are_counted_until_they_end() -> None:
    bench = Bench()
    for name in ("seven", "eight"):
        spec = {"number": 7, "owned": "the seven"}
        body = bench.cluster.put(resource_path("numbers", "shop"), {"metadata": {"name": name}, "spec": spec})
        bench.intake.note("Number", None, body)
    async with bench.working():
        await eventually(lambda: bench.conflicts() == 1.0)

        bench.intake.note("Number", GONE, bench.cluster.objects.pop(PATH))

        await eventually(lambda: bench.conflicts() == 0.0)
