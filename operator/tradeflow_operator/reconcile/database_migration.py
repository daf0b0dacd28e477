"""DatabaseMigration: a Job that says what it would do, a person's or the spec's approval, and a Job that does it. Pure.

The approved migrations are named on the second Job's command line, so what runs is what was seen, however often the Job
begins anew: `tradeflow migrate apply` goes on where it was killed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from tradeflow_operator import GROUP
from tradeflow_operator.conditions import condition_of
from tradeflow_operator.reconcile.migration_job import LAST_WORDS, DatabaseMigrationSpec, Job, job_names_of, job_of
from tradeflow_operator.reconcile.plan import Plan, Step, Verdict, in_sync, refused, waiting
from tradeflow_operator.resources import FORCE_ANNOTATION, Resource

APPROVED_ANNOTATION = f"{GROUP}/approved"
"""Has to have the plan's digest where the spec asks for a person's approval."""

LOOK_AGAIN_SECONDS = 2.0
"""While a Job runs."""

BEGINS_WITHIN_SECONDS = 60.0
"""How long a Job may take to run: longer than a Pod takes with an image that isn't on its node yet, as a rule."""

_ROOM = (
    "Add a node or make room, or let it onto other nodes by spec.pod, which the chart fills in from the service's "
    "nodeSelector, tolerations and affinity."
)

_REMEDY = (
    "Once that is mended it starts by itself; another spec.image or spec.pod, or a new value of the annotation "
    f"{FORCE_ANNOTATION}, begins anew."
)

_TOLD = ("phase", "image", "planJob", "applyJob", "current", "target", "planDigest", "pending")
"""The fields of the status that are this kind's own."""

PLAN_TRIES_MAX, APPLY_TRIES_MAX = 2, 5
"""How often a Job begins anew: a plan reads only; an apply goes on where it was."""

ASKED_ANEW_SECONDS = 300.0
"""How long a failed plan stands: a database that was away for longer than its tries took needs nobody's word then."""

LAST_WORDS_CHARACTERS_MAX = 500
"""Of what a container that failed said last, its end: there it says why, and a condition has room for 1,024."""


class PendingMigration(msgspec.Struct, frozen=True, kw_only=True):
    """One migration that would run."""

    name: str
    phase: str
    statements: int
    sql: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the planning Job said: `tradeflow migrate plan --report`."""

    digest: str
    current: str | None = None
    target: str | None = None
    pending: tuple[PendingMigration, ...] = ()


class JobSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One Job of ours."""

    name: str
    state: Literal["Running", "Succeeded", "Failed"]
    last_words: str = ""
    """Of the Pod that ended last."""
    out_of_time: bool = False
    """Whether Kubernetes stopped it when its time was over; it removes the Pods that it stops."""
    failed_at: datetime | None = None
    """When it was given up, if it was."""
    has_pods: bool = True
    """Whether a Pod of it is left: Kubernetes removes those of a node that went, and with them what they said."""
    hindrance: str = ""
    """Why its Pod can't start, as the kubelet says it, while somebody has to do something about it."""
    without_node: str = ""
    """Why its Pod has no node, as the scheduler says it; one may come by itself, where somebody adds nodes."""
    waits_since: datetime | None = None
    """When it was made, while none of its containers has run; None once one has."""


class MigrationSeen(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is."""

    plan_job: JobSeen | None
    apply_job: JobSeen | None
    stale_jobs: tuple[str, ...] = ()
    """Jobs of older specs that are finished, or never began."""


class CreateJob(Step, frozen=True, kw_only=True):
    """Start a Job."""

    body: Job
    summary: str

    def sentence(self) -> str:
        """Say it."""
        return self.summary


class DeleteJob(Step, frozen=True, kw_only=True):
    """Remove a Job that tells of the past."""

    name: str

    def sentence(self) -> str:
        """Say it."""
        return f"Remove the Job {self.name} of an older plan"


def plan_migration(resource: Resource[DatabaseMigrationSpec], seen: MigrationSeen, now: datetime) -> Plan:
    """Decide: plan, ask, apply. A Job is never changed and never made twice: its name stands for its plan."""
    plan_name, _ = job_names_of(resource)
    if seen.stale_jobs:
        steps = tuple(DeleteJob(name=name) for name in seen.stale_jobs)
        return Plan(steps=steps, verdict=waiting("Planning", "Jobs of an older plan are removed."))
    job = seen.plan_job
    if job is None:
        step = CreateJob(
            body=job_of(resource, plan_name, ["plan", "--report", LAST_WORDS], tries_max=PLAN_TRIES_MAX),
            summary=f"Ask {resource.spec.image} what it would do to the tables of {resource.spec.service}",
        )
        return Plan(steps=(step,), verdict=_under_way(resource, None, "Planning", "It is asked what has to be done."))
    if job.state == "Running":
        return Plan(verdict=_running(resource, None, job, now, "finds out what has to be done"))
    if job.state == "Failed":
        return _after_failed_planning(resource, job, now)
    report = _report_of(job)
    if report is None:
        return _without_report(resource, job)
    return _after_planning(resource, seen, report, now)


def _after_failed_planning(resource: Resource[DatabaseMigrationSpec], job: JobSeen, now: datetime) -> Plan:
    """Say why, and ask again after a while: a plan only reads, and what hindered it may have passed."""
    since_failure = (now - (job.failed_at or now)).total_seconds()
    if since_failure >= ASKED_ANEW_SECONDS:
        again = _under_way(resource, None, "Planning", "It is asked again, since the last time was a while ago.")
        return Plan(steps=(DeleteJob(name=job.name),), verdict=again)
    verdict = _failed(resource, None, job, otherwise="; it is asked again by itself after some minutes")
    again_seconds = max(LOOK_AGAIN_SECONDS, ASKED_ANEW_SECONDS - since_failure)
    return Plan(verdict=msgspec.structs.replace(verdict, check_again_seconds=again_seconds))


def _without_report(resource: Resource[DatabaseMigrationSpec], job: JobSeen) -> Plan:
    """Go by what was told before where the Pod went with its node; what wasn't applied by then is planned anew."""
    told = resource.status
    if not job.has_pods and (told.get("planJob"), told.get("phase")) == (job.name, "Applied"):
        ready = condition_of(told, "Ready") or {}
        kept = {name: told[name] for name in _TOLD if name in told}
        return Plan(verdict=in_sync(str(ready.get("message", "")), reason="Applied", status=kept))
    if not job.has_pods:
        again = _under_way(resource, None, "Planning", "It is asked again, since the Pod that said it is gone.")
        return Plan(steps=(DeleteJob(name=job.name),), verdict=again)
    message = f"The Job {job.name} ended without a report: is {resource.spec.image} an image of TradeFlow?"
    return Plan(verdict=refused("NoReport", message, status=_status(resource, None, "Failed")))


def _after_planning(
    resource: Resource[DatabaseMigrationSpec], seen: MigrationSeen, report: Report, now: datetime
) -> Plan:
    spec = resource.spec
    if spec.target_revision is not None and report.target != spec.target_revision:
        message = (
            f"The image leads to {report.target}, and spec.targetRevision asks for {spec.target_revision}. "
            "Change spec.image or spec.targetRevision."
        )
        return Plan(verdict=refused("OtherTarget", message, status=_status(resource, report, "Failed")))
    if not report.pending:
        return Plan(verdict=_applied(resource, report, "The tables are as the image asks for."))
    if seen.apply_job is not None:
        return Plan(verdict=_of_apply(resource, seen.apply_job, report, now))
    approved = resource.annotations.get(APPROVED_ANNOTATION) == report.digest
    if spec.approval == "Manual" and not approved:
        plan_name, _ = job_names_of(resource)
        message = (
            f"The annotation {APPROVED_ANNOTATION}: {report.digest} lets {_names_of(report)} run. "
            f"`kubectl logs job/{plan_name}` shows all of their SQL."
        )
        verdict = Verdict(
            ready=False,
            synced=False,
            stalled=True,
            reason="AwaitingApproval",
            message=message,
            status=_status(resource, report, "AwaitingApproval"),
        )
        return Plan(verdict=verdict)
    names = [word for migration in report.pending for word in ("--approved", migration.name)]
    _, apply_name = job_names_of(resource)
    step = CreateJob(
        body=job_of(resource, apply_name, ["apply", *names], tries_max=APPLY_TRIES_MAX),
        summary=f"Apply {_names_of(report)}",
    )
    return Plan(steps=(step,), verdict=_under_way(resource, report, "Applying", "The migrations begin."))


def _of_apply(resource: Resource[DatabaseMigrationSpec], job: JobSeen, report: Report, now: datetime) -> Verdict:
    if job.state == "Running":
        return _running(resource, report, job, now, "runs the migrations")
    if job.state == "Failed":
        return _failed(resource, report, job)
    done = msgspec.structs.replace(report, current=report.target)
    return _applied(resource, done, f"The Job {job.name} ran {_names_of(report)}.")


def _applied(resource: Resource[DatabaseMigrationSpec], report: Report, message: str) -> Verdict:
    return in_sync(message, reason="Applied", status=_status(resource, report, "Applied"))


def _under_way(resource: Resource[DatabaseMigrationSpec], report: Report | None, phase: str, message: str) -> Verdict:
    status = _status(resource, report, phase)
    return waiting(phase, message, status=status, check_again_seconds=LOOK_AGAIN_SECONDS)


def _running(
    resource: Resource[DatabaseMigrationSpec], report: Report | None, job: JobSeen, now: datetime, does: str
) -> Verdict:
    """Say what a Job does, or what keeps it from that: only some of it ends by itself."""
    phase = "Applying" if report else "Planning"
    status = _status(resource, report, phase)
    is_late = job.waits_since is not None and now - job.waits_since > timedelta(seconds=BEGINS_WITHIN_SECONDS)
    if job.hindrance:
        message = f"The Pod of the Job {job.name} can't start: {job.hindrance} {_REMEDY}"
        return refused("PodCannotStart", message, status=status, check_again_seconds=LOOK_AGAIN_SECONDS)
    if job.without_node:
        message = f"The Pod of the Job {job.name} has no node: {job.without_node} {_ROOM} {_REMEDY}"
        return waiting("PodCannotStart", message, status=status, check_again_seconds=LOOK_AGAIN_SECONDS)
    if is_late and not job.has_pods:
        why = "for want of quota or of its service account, or since a policy of the cluster refuses it, as a rule"
        message = f"The Job {job.name} gets no Pod, {why}; `kubectl describe job {job.name}` says it. {_REMEDY}"
        return waiting("PodCannotStart", message, status=status, check_again_seconds=LOOK_AGAIN_SECONDS)
    if is_late:
        asks = f"`kubectl describe pods --selector batch.kubernetes.io/job-name={job.name}`"
        why = "Its image may be large, or a Secret or ConfigMap of its volumes isn't there"
        return _under_way(resource, report, phase, f"The Job {job.name} hasn't begun yet. {why}; {asks} says it.")
    return _under_way(resource, report, phase, f"The Job {job.name} {does}.")


def _failed(
    resource: Resource[DatabaseMigrationSpec], report: Report | None, job: JobSeen, *, otherwise: str = ""
) -> Verdict:
    words = job.last_words.strip()
    if len(words) > LAST_WORDS_CHARACTERS_MAX:
        words = f"… {words[-LAST_WORDS_CHARACTERS_MAX:]}"
    said = f" It said: {words}" if words else ""
    anew = f"a new value of the annotation {FORCE_ANNOTATION} begins anew, where it stopped{otherwise}."
    if job.out_of_time:
        message = (
            f"The Job {job.name} was stopped, since it hadn't ended within the time that spec.timeout gave it.{said} "
            f"`kubectl describe job {job.name}` says whether it ran at all; a longer spec.timeout and {anew}"
        )
    else:
        message = f"The Job {job.name} failed.{said} `kubectl logs job/{job.name}` tells more; {anew}"
    return refused("MigrationFailed", message, status=_status(resource, report, "Failed"))


def _status(resource: Resource[DatabaseMigrationSpec], report: Report | None, phase: str) -> dict[str, Any]:
    plan_name, apply_name = job_names_of(resource)
    status: dict[str, Any] = {"phase": phase, "image": resource.spec.image, "planJob": plan_name}
    if report is None:
        return {**status, "current": resource.status.get("current")}
    pending: Sequence[PendingMigration] = report.pending
    return {
        **status,
        "applyJob": apply_name if pending else None,
        "current": report.current,
        "target": report.target,
        "planDigest": report.digest if pending else None,
        "pending": [] if phase == "Applied" else [_told(migration) for migration in pending],
    }


def _names_of(report: Report) -> str:
    return ", ".join(migration.name for migration in report.pending)


def _told(migration: PendingMigration) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": migration.name,
        "phase": migration.phase,
        "statements": migration.statements,
        "sql": list(migration.sql),
    }
    return told


def _report_of(job: JobSeen) -> Report | None:
    try:
        return msgspec.json.decode(job.last_words.encode(), type=Report)
    except msgspec.MsgspecError:
        return None
