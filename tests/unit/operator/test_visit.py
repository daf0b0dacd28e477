from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.a_kind import NumberKind
from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes, conditions_of
from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.clients.kubernetes import resource_path
from tradeflow_operator.errors import NotLeaderError, RefusedError, UnavailableError
from tradeflow_operator.kinds import Kinds
from tradeflow_operator.resources import FINALIZER, FORCE_ANNOTATION, PAUSED_ANNOTATION, ObjectKey
from tradeflow_operator.work.intake import Intake
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.queue import WorkQueue
from tradeflow_operator.work.status_writer import StatusWriter
from tradeflow_operator.work.visit import UNTOLD_SECONDS_MAX, Outcome, Visitor

KEY = ObjectKey("Number", "shop", "seven")
PATH = resource_path("numbers", "shop", "seven")


class Bench:
    """A visitor, its kind and a cluster in memory."""

    def __init__(self, fence: Fence | None = None) -> None:
        self.cluster = FakeCluster()
        self.kind = NumberKind()
        self.known = KnownResources()
        self.queue = WorkQueue()
        kubernetes = FakeKubernetes(self.cluster, fence)
        self.intake = Intake(Kinds([self.kind]), self.known, self.queue)
        self.visitor = Visitor(self.known, kubernetes, StatusWriter(kubernetes))

    def create(self, name: str = "seven", annotations: Mapping[str, str] | None = None, **spec: Any) -> None:
        metadata = {"name": name, "annotations": dict(annotations or {})}
        self.cluster.put(resource_path("numbers", "shop"), {"metadata": metadata, "spec": spec})
        self.cluster.writes.clear()
        self.sync()

    def change(self, **fields: Any) -> None:
        self.cluster.request("PATCH", PATH, fields)
        self.cluster.writes.clear()
        self.sync()

    def delete(self) -> None:
        self.cluster.request("DELETE", PATH, None)
        self.cluster.writes.clear()
        self.sync()

    def sync(self) -> None:
        """Tell all as a watch would."""
        for path, body in list(self.cluster.objects.items()):
            if "/numbers/" in path:
                self.intake.note("Number", None, body)

    async def visit(self, name: str = "seven", failures_before: int = 0) -> Outcome:
        key = ObjectKey("Number", "shop", name)
        outcome = await self.visitor.visit(self.kind, key, failures_before=failures_before)
        self.sync()
        return outcome

    @property
    def body(self) -> dict[str, Any]:
        return self.cluster.objects[PATH]

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        return conditions_of(self.body)


async def test_a_new_resource_is_carried_out_and_told_in_one_write() -> None:
    bench = Bench()
    bench.create(number=7)

    outcome = await bench.visit()

    assert outcome.word == "in_sync"
    assert bench.kind.outside == {"seven": 7}
    assert len(bench.cluster.writes) == 1
    assert list(bench.conditions) == ["Ready", "Synced", "Stalled", "Paused", "Drifted"]
    assert bench.conditions["Ready"]["status"] == "True"
    assert bench.body["status"]["observedGeneration"] == 1


async def test_a_visit_that_changes_nothing_writes_nothing() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()
    bench.cluster.writes.clear()

    await bench.visit()

    assert bench.cluster.writes == []
    assert bench.kind.steps_taken == 1


async def test_drift_is_mended() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()

    bench.kind.outside["seven"] = 8
    await bench.visit()

    assert bench.kind.outside == {"seven": 7}


async def test_what_its_steps_do_not_bring_about_is_not_called_ready() -> None:
    bench = Bench()
    bench.create(number=7)
    bench.kind.forgets = True

    outcome = await bench.visit()

    assert bench.kind.steps_taken == bench.kind.rounds_max
    assert outcome.failed
    assert bench.conditions["Ready"]["status"] == "Unknown"
    assert bench.conditions["Ready"]["reason"] == "StepsWithoutEffect"
    assert "set the number to 7" in bench.conditions["Ready"]["message"]


async def test_a_paused_resource_is_not_touched_and_stays_ready() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()
    bench.change(metadata={"annotations": {PAUSED_ANNOTATION: "true"}}, spec={"number": 8})

    outcome = await bench.visit()

    assert outcome.word == "paused"
    assert bench.kind.outside == {"seven": 7}
    assert bench.conditions["Paused"]["status"] == "True"
    assert bench.conditions["Ready"]["status"] == "True"
    assert bench.conditions["Ready"]["observedGeneration"] == 1


async def test_a_resumed_resource_catches_up() -> None:
    bench = Bench()
    bench.create(number=7, annotations={PAUSED_ANNOTATION: "true"})
    await bench.visit()
    assert bench.kind.outside == {}
    bench.change(metadata={"annotations": {PAUSED_ANNOTATION: None}})

    await bench.visit()

    assert bench.kind.outside == {"seven": 7}
    assert bench.conditions["Paused"]["status"] == "False"


async def test_a_force_is_handled_once_and_the_annotation_stays() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()
    bench.change(metadata={"annotations": {FORCE_ANNOTATION: "monday"}})

    assert len(bench.queue) == 1
    await bench.visit()

    assert bench.body["status"]["lastHandledForce"] == "monday"
    assert bench.body["metadata"]["annotations"][FORCE_ANNOTATION] == "monday"
    assert bench.kind.parse(bench.body).force_requested is None


async def test_a_finalizer_is_there_only_where_it_is_wanted_and_before_the_first_step() -> None:
    bench = Bench()
    bench.create(number=7, cleanUp=True)

    await bench.visit()

    assert bench.body["metadata"]["finalizers"] == [FINALIZER]
    assert len(bench.cluster.writes) == 2
    bench.change(spec={"cleanUp": False})
    await bench.visit()
    assert not bench.body["metadata"].get("finalizers")


async def test_a_deleted_resource_is_cleaned_up_before_it_goes() -> None:
    bench = Bench()
    bench.create(number=7, cleanUp=True)
    await bench.visit()
    bench.delete()

    await bench.visit()

    assert bench.kind.outside == {}
    assert PATH not in bench.cluster.objects


async def test_a_resource_that_is_paused_and_deleted_leaves_what_is_outside() -> None:
    bench = Bench()
    bench.create(number=7, cleanUp=True)
    await bench.visit()
    bench.change(metadata={"annotations": {PAUSED_ANNOTATION: "true"}})
    bench.delete()

    await bench.visit()

    assert bench.kind.outside == {"seven": 7}
    assert PATH not in bench.cluster.objects
    assert [event["reason"] for event in bench.cluster.events()] == ["Retained"]


async def test_a_spec_that_cannot_be_read_is_told_with_the_field() -> None:
    bench = Bench()
    bench.create(number="seven")

    outcome = await bench.visit()

    assert outcome.word == "refused"
    assert bench.conditions["Ready"]["reason"] == "InvalidSpec"
    assert "spec.number" in bench.conditions["Ready"]["message"]
    assert bench.conditions["Stalled"]["status"] == "True"


async def test_a_resource_deleted_before_its_first_step_is_not_carried_out() -> None:
    bench = Bench()
    bench.create(number=7)
    del bench.cluster.objects[PATH]

    outcome = await bench.visit()

    assert outcome.word == "gone"
    assert bench.kind.outside == {}


async def test_a_step_follows_the_newest_spec_though_the_watch_is_late() -> None:
    bench = Bench()
    bench.create(number=7)
    bench.cluster.request("PATCH", PATH, {"spec": {"number": 8}})

    await bench.visit()

    assert bench.kind.outside == {"seven": 8}


async def test_short_trouble_of_what_was_ready_is_not_written_down() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()
    bench.cluster.writes.clear()
    bench.kind.trouble = UnavailableError("It is away.", reason="Away")

    first = await bench.visit(failures_before=0)
    assert (first.failed, bench.cluster.writes) == (True, [])
    await bench.visit(failures_before=2)

    assert bench.conditions["Ready"]["status"] == "Unknown"
    assert bench.conditions["Ready"]["reason"] == "Away"


async def test_trouble_that_is_not_written_down_yet_is_looked_at_soon_whatever_it_says_of_its_end() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()
    bench.kind.trouble = UnavailableError("Its Secret is gone.", reason="Gone", retry_after_seconds=60.0)

    untold = await bench.visit(failures_before=0)
    told = await bench.visit(failures_before=2)

    assert (untold.again_seconds, told.again_seconds) == (UNTOLD_SECONDS_MAX, 60.0)


async def test_whoever_forces_is_told_of_trouble_at_once() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()
    bench.kind.trouble = UnavailableError("It is away.", reason="Away")

    bench.change(metadata={"annotations": {FORCE_ANNOTATION: "1"}})
    await bench.visit(failures_before=0)

    assert bench.conditions["Ready"]["reason"] == "Away"


async def test_a_force_is_not_handled_before_the_trouble_ends_that_keeps_it_from_being_done() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()
    bench.kind.trouble = UnavailableError("It is away.", reason="Away")
    bench.change(metadata={"annotations": {FORCE_ANNOTATION: "1"}})

    await bench.visit(failures_before=0)
    during = bench.body["status"].get("lastHandledForce")
    bench.kind.trouble = None
    await bench.visit(failures_before=1)

    assert (during, bench.body["status"]["lastHandledForce"]) == (None, "1")


async def test_a_bug_in_a_kind_is_told_and_retried() -> None:
    bench = Bench()
    bench.create(number=7)
    bench.kind.trouble = ZeroDivisionError("a bug")

    outcome = await bench.visit()

    assert outcome.failed
    assert bench.conditions["Ready"]["reason"] == "InternalError"


async def test_nothing_is_written_without_the_lease() -> None:
    bench = Bench(Fence())
    bench.create(number=7)

    with pytest.raises(NotLeaderError):
        await bench.visit()

    assert bench.cluster.writes == []


async def test_an_event_is_posted_on_a_transition_only() -> None:
    bench = Bench()
    bench.create(number=7)
    await bench.visit()
    assert bench.cluster.events() == []
    bench.change(spec={"number": -1})

    await bench.visit()
    await bench.visit()

    assert [event["reason"] for event in bench.cluster.events()] == ["Negative", "Stalled"]


async def test_of_two_resources_for_one_thing_the_older_wins() -> None:
    bench = Bench()
    bench.create(number=7, owned="door")
    bench.create(name="eight", number=8, owned="door")

    await bench.visit()
    await bench.visit("eight")

    newer = conditions_of(bench.cluster.objects[resource_path("numbers", "shop", "eight")])
    assert bench.kind.outside == {"seven": 7}
    assert newer["Ready"]["reason"] == "ResourceConflict"
    assert "shop/seven" in newer["Ready"]["message"]


async def test_when_the_older_goes_the_newer_takes_over() -> None:
    bench = Bench()
    bench.create(number=7, owned="door")
    bench.create(name="eight", number=8, owned="door")
    await bench.visit("eight")
    body = bench.cluster.objects.pop(PATH)
    bench.intake.note("Number", "DELETED", body)

    await bench.visit("eight")

    assert bench.kind.outside == {"eight": 8}


async def test_who_names_what_another_resource_has_is_told_as_a_conflict() -> None:
    bench = Bench()
    bench.create(number=7)
    bench.kind.trouble = RefusedError("The ConfigMap belongs to Number/eight.", reason="ResourceConflict")

    assert (await bench.visit()).word == "conflict"


async def test_what_was_set_back_without_a_new_wish_is_told_as_a_correction() -> None:
    bench = Bench()
    bench.create(number=7)
    made = await bench.visit()
    at_rest = await bench.visit()
    bench.kind.outside["seven"] = 8
    set_back = await bench.visit()
    bench.change(spec={"number": 9})
    changed = await bench.visit()

    assert [outcome.corrected for outcome in (made, at_rest, set_back, changed)] == [False, False, True, False]
