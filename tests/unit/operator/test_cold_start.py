"""Who owns what two resources claim, while a process that began only now has heard of one of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.a_kind import NumberKind, NumberSpec
from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes, conditions_of
from tests.support.slow_listing_server import SlowListingServer
from tests.support.waiting import eventually
from tradeflow_operator.clients.kubernetes import resource_path
from tradeflow_operator.errors import UnavailableError
from tradeflow_operator.kinds import Kinds
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.resources import ObjectKey, Resource
from tradeflow_operator.settings import OperatorSettings
from tradeflow_operator.startup import running
from tradeflow_operator.work.audit import AuditScope, WatchAudit
from tradeflow_operator.work.intake import Intake
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.queue import WorkQueue
from tradeflow_operator.work.status_writer import StatusWriter
from tradeflow_operator.work.visit import Visitor

NEWER, OLDER = ObjectKey("Number", "shop", "a-newer"), ObjectKey("Number", "shop", "z-older")


class LetterKind(NumberKind):
    """Another kind, whose resources refer to a number."""

    name = "Letter"
    plural = "letters"

    def references(self, resource: Resource[NumberSpec]) -> tuple[ObjectKey]:
        del resource
        return (OLDER,)


class UnlistedKubernetes(FakeKubernetes):
    """Can't list numbers for a while."""

    lists_numbers = True

    async def list_metadata(self, path: str, *, limit: int, token: str = "", selector: str = "") -> dict[str, Any]:
        if "/numbers" in path and not self.lists_numbers:
            raise UnavailableError("They can't be decoded.", reason="KubernetesUnavailable")
        return await super().list_metadata(path, limit=limit, token=token, selector=selector)


class Bench:
    """What a process hears first, on a cluster in memory."""

    def __init__(self) -> None:
        self.cluster, self.known, self.queue = FakeCluster(), KnownResources(), WorkQueue()
        self.numbers, letters = NumberKind(), LetterKind()
        kinds = Kinds([self.numbers, letters])
        self.kubernetes = UnlistedKubernetes(self.cluster)
        self.intake = Intake(kinds, self.known, self.queue, held=["Number", "Letter"])
        self.visitor = Visitor(self.known, self.kubernetes, StatusWriter(self.kubernetes))
        scope = AuditScope(every_seconds=3600, namespaces=("shop",))
        self._audit = WatchAudit(kinds, self.known, self.intake, self.kubernetes, OperatorMetrics(), scope)

    def create(self, key: ObjectKey, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> None:
        create(self.cluster, key, created, **spec)

    def hear_of(self, key: ObjectKey) -> None:
        """Let the watch tell of one."""
        self.intake.note(key.kind, None, self.cluster.objects[path_of(key)])

    @asynccontextmanager
    async def auditing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._audit.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def path_of(key: ObjectKey) -> str:
    return resource_path(f"{key.kind.lower()}s", key.namespace, key.name)


def create(cluster: FakeCluster, key: ObjectKey, created: str, **spec: Any) -> None:
    metadata = {"name": key.name, "creationTimestamp": created}
    cluster.put(path_of(key).rpartition("/")[0], {"metadata": metadata, "spec": {"number": 1, **spec}})


def create_rivals(cluster: FakeCluster) -> None:
    create(cluster, NEWER, "2026-02-01T00:00:00Z", owned="door")
    create(cluster, OLDER, "2026-01-01T00:00:00Z", owned="door")


async def test_nothing_is_worked_on_before_all_of_its_kind_have_come_in() -> None:
    bench = Bench()
    create_rivals(bench.cluster)
    async with bench.auditing():
        bench.hear_of(NEWER)
        await asyncio.sleep(0.2)
        bench.intake.enqueue_all()  # as when this process begins to lead
        by_half = len(bench.queue)

        bench.hear_of(OLDER)

        await eventually(lambda: len(bench.queue) == 2)
    assert by_half == 0
    assert bench.known.owner_of_claim(NEWER) == OLDER


async def test_what_goes_before_its_watch_tells_of_it_is_not_waited_for() -> None:
    bench = Bench()
    create_rivals(bench.cluster)
    async with bench.auditing():
        bench.hear_of(NEWER)
        await asyncio.sleep(0)
        del bench.cluster.objects[path_of(OLDER)]

        await eventually(lambda: len(bench.queue) == 1)


async def test_a_kind_that_cannot_be_listed_holds_up_itself_and_what_refers_to_it_and_nothing_else() -> None:
    bench = Bench()
    letter, number = ObjectKey("Letter", "shop", "letter"), ObjectKey("Number", "shop", "one")
    bench.kubernetes.lists_numbers = False
    bench.create(letter)
    bench.create(number)
    async with bench.auditing():
        bench.hear_of(letter)
        bench.hear_of(number)
        await asyncio.sleep(0.2)
        held = len(bench.queue)

        bench.kubernetes.lists_numbers = True

        await eventually(lambda: len(bench.queue) == 2)
    assert held == 0


async def test_a_kind_that_was_listed_is_worked_on_while_another_cannot_be() -> None:
    bench = Bench()
    letter, number = ObjectKey("Letter", "shop", "letter"), ObjectKey("Number", "shop", "one")
    create(bench.cluster, letter, "2026-01-01T00:00:00Z", number="unreadable, so it refers to nothing")
    bench.create(number)
    bench.kubernetes.lists_numbers = False
    async with bench.auditing():
        bench.hear_of(letter)
        bench.hear_of(number)

        await eventually(lambda: len(bench.queue) == 1)
        assert await bench.queue.take() == letter


async def test_who_took_itself_for_the_owner_looks_again_when_an_older_one_comes_in() -> None:
    bench = Bench()
    create_rivals(bench.cluster)
    for kind in ("Number", "Letter"):
        bench.intake.release(kind)
    bench.hear_of(NEWER)
    bench.queue.done(await bench.queue.take())

    bench.hear_of(OLDER)

    assert {await bench.queue.take() for _ in range(len(bench.queue))} == {NEWER, OLDER}


async def test_who_learns_of_an_older_one_while_it_looks_gives_way_before_its_first_step() -> None:
    class LookingKind(NumberKind):
        async def observe(self, resource: Resource[NumberSpec]) -> int | None:
            bench.hear_of(OLDER)
            return await super().observe(resource)

    bench = Bench()
    create_rivals(bench.cluster)
    bench.hear_of(NEWER)
    kind = LookingKind()

    outcome = await bench.visitor.visit(kind, NEWER, failures_before=0)

    assert outcome.word == "conflict"
    assert kind.steps_taken == 0
    assert conditions_of(bench.cluster.objects[path_of(NEWER)])["Ready"]["reason"] == "ResourceConflict"


async def test_an_operator_that_starts_lets_the_older_act_though_the_newer_is_listed_first(tmp_path: Path) -> None:
    server, kind = SlowListingServer("numbers", "Number"), NumberKind()
    create_rivals(server.cluster)
    async with server.serving(tmp_path) as kubeconfig:
        settings = OperatorSettings(kubeconfig=kubeconfig, http_port=0, http_host="127.0.0.1", lease_namespace="shop")
        async with running(settings, lambda _: [kind]):
            await eventually(lambda: {_reason(server, NEWER), _reason(server, OLDER)} >= {"InSync"})
            await eventually(lambda: _reason(server, NEWER) is not None)

    assert (_reason(server, NEWER), _reason(server, OLDER)) == ("ResourceConflict", "InSync")
    assert kind.outside == {OLDER.name: 1}
    assert kind.steps_taken == 1


def _reason(server: SlowListingServer, key: ObjectKey) -> str | None:
    ready = conditions_of(server.cluster.objects[path_of(key)]).get("Ready")
    return ready["reason"] if ready else None
