"""What is seen of a migration's Jobs: whether their Pods came, found a node and began."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.kind_bench import NAMESPACE, KindBench
from tradeflow_operator.clients.kubernetes import object_path
from tradeflow_operator.handlers.database_migration import DatabaseMigrationKind
from tradeflow_operator.reconcile.database_migration import ASKED_ANEW_SECONDS

JOBS = object_path("apis/batch/v1", "jobs", NAMESPACE)
PODS = object_path("api/v1", "pods", NAMESPACE)

LONG_AGO = "2020-01-01T00:00:00Z"

NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available."}


async def bench_with_a_job(**pod: Any) -> KindBench:
    """Ask for a migration whose Job came long ago; a Pod of it has this status."""
    bench = KindBench(DatabaseMigrationKind)
    bench.create("ledger", service="ledger", image="tradeflow:2", databaseSecret={"name": "database"})
    await bench.visit("ledger")
    job = bench.cluster.objects[f"{JOBS}/{job_name(bench)}"]
    job["metadata"]["creationTimestamp"] = LONG_AGO
    if pod:
        labels = {"batch.kubernetes.io/job-name": job_name(bench)}
        bench.cluster.put(PODS, {"metadata": {"name": "first", "labels": labels}, "status": pod})
    await bench.visit("ledger")
    return bench


def job_name(bench: KindBench) -> str:
    return str(bench.status("ledger")["planJob"])


def jobs_in(bench: KindBench) -> list[str]:
    return [path.removeprefix(f"{JOBS}/") for path in bench.cluster.objects if path.startswith(f"{JOBS}/")]


@pytest.mark.parametrize(
    ("pod", "reason", "said"),
    [
        ({}, "PodCannotStart", "gets no Pod"),
        ({"phase": "Pending", "conditions": [NO_NODE]}, "PodCannotStart", "Unschedulable: 0/3 nodes are available."),
        ({"phase": "Pending"}, "Planning", "hasn't begun yet"),
        ({"phase": "Running"}, "Planning", "finds out what has to be done"),
    ],
)
async def test_what_keeps_a_job_from_its_work_is_told(pod: dict[str, Any], reason: str, said: str) -> None:
    bench = await bench_with_a_job(**pod)

    assert bench.condition("ledger", "Ready") == ("False", reason)
    assert bench.condition("ledger", "Stalled") == ("False", "Progressing")
    assert said in str(bench.status("ledger"))


async def test_a_job_that_has_just_come_is_no_trouble() -> None:
    bench = await bench_with_a_job()
    created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    bench.cluster.objects[f"{JOBS}/{job_name(bench)}"]["metadata"]["creationTimestamp"] = created_at

    await bench.visit("ledger")

    assert bench.condition("ledger", "Ready") == ("False", "Planning")


@pytest.mark.parametrize(("phase", "stays"), [("Pending", False), ("Running", True)])
async def test_a_job_of_an_older_spec_goes_unless_it_works(phase: str, *, stays: bool) -> None:
    bench = await bench_with_a_job(phase=phase)
    before = job_name(bench)
    bench.change("ledger", spec={"image": "tradeflow:3"})

    await bench.visit("ledger")
    await bench.visit("ledger")

    assert job_name(bench) != before
    assert sorted(jobs_in(bench)) == sorted({job_name(bench), *([before] if stays else ())})


async def test_a_job_that_kubernetes_stopped_at_its_deadline_says_so_and_what_to_do() -> None:
    bench = await bench_with_a_job()
    message = "Job was active longer than specified deadline"
    over = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": message}
    bench.cluster.objects[f"{JOBS}/{job_name(bench)}"]["status"] = {"conditions": [over]}

    await bench.visit("ledger")

    assert bench.condition("ledger", "Ready") == ("False", "MigrationFailed")
    assert "hadn't ended within the time that spec.timeout gave it" in str(bench.status("ledger"))
    assert "kubectl logs" not in str(bench.status("ledger"))


def fail(bench: KindBench, *, at: datetime) -> None:
    """Let the planning Job be given up."""
    when = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    over = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": when}
    bench.cluster.objects[f"{JOBS}/{job_name(bench)}"]["status"] = {"conditions": [over]}


async def test_a_plan_that_failed_is_asked_for_again_after_a_while_since_its_database_may_be_back() -> None:
    bench = await bench_with_a_job()
    fail(bench, at=datetime.now(UTC))
    outcome = await bench.visit("ledger")
    told, failed = bench.condition("ledger", "Ready"), bench.cluster.objects[f"{JOBS}/{job_name(bench)}"]

    fail(bench, at=datetime.now(UTC) - timedelta(seconds=ASKED_ANEW_SECONDS))
    await bench.visit("ledger")

    assert told == ("False", "MigrationFailed")
    assert outcome.again_seconds is not None
    assert 0 < outcome.again_seconds <= ASKED_ANEW_SECONDS
    assert bench.condition("ledger", "Ready") == ("False", "Planning")
    assert jobs_in(bench) == [job_name(bench)]
    assert bench.cluster.objects[f"{JOBS}/{job_name(bench)}"]["metadata"]["uid"] != failed["metadata"]["uid"]


async def test_what_was_applied_and_failed_waits_for_a_persons_word_however_long() -> None:
    report = '{"digest": "d", "target": "m2", "pending": [{"name": "m2", "phase": "pre", "statements": 1}]}'
    bench = await bench_with_a_job(
        phase="Succeeded", containerStatuses=[{"state": {"terminated": {"message": report}}}]
    )
    plan = bench.cluster.objects[f"{JOBS}/{job_name(bench)}"]
    plan["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    await bench.visit("ledger")
    (applying,) = (name for name in jobs_in(bench) if name != job_name(bench))
    over = {"type": "Failed", "status": "True", "lastTransitionTime": LONG_AGO}
    bench.cluster.objects[f"{JOBS}/{applying}"]["status"] = {"conditions": [over]}
    before = jobs_in(bench)

    await bench.visit("ledger")

    assert bench.condition("ledger", "Ready") == ("False", "MigrationFailed")
    assert jobs_in(bench) == before
