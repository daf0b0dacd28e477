"""DatabaseMigration: a Job that says what it would do, a person's or the spec's approval, and a Job that does it. Pure.

The approved migrations are named on the second Job's command line, so what runs is what was seen, however often the Job
begins anew: `tradeflow migrate apply` goes on where it was killed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.reconcile.durations import PATTERN, seconds_of
from tradeflow_operator.reconcile.ownership import MANAGED_BY
from tradeflow_operator.reconcile.plan import Plan, Step, Verdict, in_sync, refused, waiting
from tradeflow_operator.resources import FORCE_ANNOTATION, Resource

APPROVED_ANNOTATION = f"{GROUP}/approved"
"""Has to have the plan's digest where the spec asks for a person's approval."""

RUN_LABEL = f"{GROUP}/migration"
"""On Jobs: the name of the resource."""

LAST_WORDS = "/dev/termination-log"
"""Where the container writes its report; Kubernetes keeps it in the Pod's status."""

LOOK_AGAIN_SECONDS = 2.0
"""While a Job runs."""

PLAN_TRIES_MAX, APPLY_TRIES_MAX = 2, 5
"""How often a Job begins anew: a plan reads only; an apply goes on where it was."""

CONTAINER = "migrate"

Job = Mapping[str, Any]


class SecretKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of a Secret of the same namespace."""

    name: str
    key: str = "url"


class PullSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Secret for pulling the image."""

    name: str


class DatabaseMigrationSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person asks for."""

    service: Literal["ledger", "orders"]
    image: str
    database_secret: SecretKey
    phase: Literal["pre", "post"] = "pre"
    image_pull_secrets: tuple[PullSecret, ...] = ()
    target_revision: str | None = None
    approval: Literal["Automatic", "Manual"] = "Automatic"
    timeout: Annotated[str, msgspec.Meta(pattern=PATTERN, min_length=2)] = "1h"
    service_account_name: str | None = None


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


class MigrationSeen(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is."""

    plan_job: JobSeen | None
    apply_job: JobSeen | None
    stale_jobs: tuple[str, ...] = ()
    """Finished Jobs of older specs."""


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


def job_names_of(resource: Resource[DatabaseMigrationSpec]) -> tuple[str, str]:
    """Name the two Jobs: another image, database or force annotation is another pair."""
    spec = resource.spec
    told = [spec.service, spec.phase, spec.image, spec.database_secret.name, spec.database_secret.key]
    mark = hashlib.sha256(
        json.dumps([*told, resource.uid, resource.annotations.get(FORCE_ANNOTATION)]).encode()
    ).hexdigest()
    stem = resource.name[:40].rstrip("-.")
    return f"{stem}-plan-{mark[:10]}", f"{stem}-apply-{mark[:10]}"


def plan_migration(resource: Resource[DatabaseMigrationSpec], seen: MigrationSeen, now: datetime) -> Plan:
    """Decide: plan, ask, apply. A Job is never changed and never made twice: its name stands for its plan."""
    del now
    plan_name, _ = job_names_of(resource)
    if seen.stale_jobs:
        steps = tuple(DeleteJob(name=name) for name in seen.stale_jobs)
        return Plan(steps=steps, verdict=waiting("Planning", "Jobs of an older plan are removed."))
    job = seen.plan_job
    if job is None:
        step = CreateJob(
            body=_job(resource, plan_name, ["plan", "--report", LAST_WORDS], tries_max=PLAN_TRIES_MAX),
            summary=f"Ask {resource.spec.image} what it would do to the tables of {resource.spec.service}",
        )
        return Plan(steps=(step,), verdict=_under_way(resource, None, "Planning", "It is asked what has to be done."))
    if job.state == "Running":
        return Plan(
            verdict=_under_way(resource, None, "Planning", f"The Job {job.name} finds out what has to be done.")
        )
    if job.state == "Failed":
        return Plan(verdict=_failed(resource, None, job))
    report = _report_of(job)
    if report is None:
        message = f"The Job {job.name} ended without a report: is {resource.spec.image} an image of TradeFlow?"
        return Plan(verdict=refused("NoReport", message, status=_status(resource, None, "Failed")))
    return _after_planning(resource, seen, report)


def _after_planning(resource: Resource[DatabaseMigrationSpec], seen: MigrationSeen, report: Report) -> Plan:
    spec = resource.spec
    if spec.target_revision is not None and report.target != spec.target_revision:
        message = f"The image leads to {report.target}, and spec.targetRevision asks for {spec.target_revision}."
        return Plan(verdict=refused("OtherTarget", message, status=_status(resource, report, "Failed")))
    if not report.pending:
        return Plan(verdict=_applied(resource, report, "The tables are as the image asks for."))
    if seen.apply_job is not None:
        return Plan(verdict=_of_apply(resource, seen.apply_job, report))
    approved = resource.annotations.get(APPROVED_ANNOTATION) == report.digest
    if spec.approval == "Manual" and not approved:
        plan_name, _ = job_names_of(resource)
        message = (
            f"{len(report.pending)} migrations wait for the annotation {APPROVED_ANNOTATION}: {report.digest}. "
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
        body=_job(resource, apply_name, ["apply", *names], tries_max=APPLY_TRIES_MAX),
        summary=f"Apply {', '.join(migration.name for migration in report.pending)}",
    )
    return Plan(steps=(step,), verdict=_under_way(resource, report, "Applying", "The migrations begin."))


def _of_apply(resource: Resource[DatabaseMigrationSpec], job: JobSeen, report: Report) -> Verdict:
    if job.state == "Running":
        return _under_way(resource, report, "Applying", f"The Job {job.name} runs the migrations.")
    if job.state == "Failed":
        return _failed(resource, report, job)
    done = msgspec.structs.replace(report, current=report.target)
    return _applied(resource, done, f"The Job {job.name} ran {len(report.pending)} migrations.")


def _applied(resource: Resource[DatabaseMigrationSpec], report: Report, message: str) -> Verdict:
    return in_sync(message, reason="Applied", status=_status(resource, report, "Applied"))


def _under_way(resource: Resource[DatabaseMigrationSpec], report: Report | None, phase: str, message: str) -> Verdict:
    status = _status(resource, report, phase)
    return waiting(phase, message, status=status, check_again_seconds=LOOK_AGAIN_SECONDS)


def _failed(resource: Resource[DatabaseMigrationSpec], report: Report | None, job: JobSeen) -> Verdict:
    said = f" It said: {job.last_words.strip()}" if job.last_words.strip() else ""
    message = (
        f"The Job {job.name} failed.{said} `kubectl logs job/{job.name}` tells more; a new value of the annotation "
        f"{FORCE_ANNOTATION} begins anew, where it stopped."
    )
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


def _job(resource: Resource[DatabaseMigrationSpec], name: str, words: list[str], *, tries_max: int) -> Job:
    """Write a Job that passes the restricted pod security, and goes with its resource."""
    spec = resource.spec
    labels = {**MANAGED_BY, RUN_LABEL: resource.name[:63].rstrip("-."), "app.kubernetes.io/component": "migration"}
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": resource.key.kind,
        "name": resource.name,
        "uid": resource.uid,
        "controller": True,
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
        "containers": [_container(spec, words)],
    }
    if spec.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in spec.image_pull_secrets]
    if spec.service_account_name:
        pod["serviceAccountName"] = spec.service_account_name
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": resource.namespace, "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "backoffLimit": tries_max,
            "activeDeadlineSeconds": seconds_of(spec.timeout),
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _container(spec: DatabaseMigrationSpec, words: list[str]) -> dict[str, Any]:
    """Write the container; the URL comes from the Secret and stands on no command line."""
    command, *options = words
    return {
        "name": CONTAINER,
        "image": spec.image,
        "command": ["tradeflow", "migrate", command, "--service", spec.service, "--phase", spec.phase, *options],
        "env": [
            {
                "name": f"TRADEFLOW_{spec.service.upper()}_DATABASE_URL",
                "valueFrom": {"secretKeyRef": {"name": spec.database_secret.name, "key": spec.database_secret.key}},
            }
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": LAST_WORDS,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the container's own
    }
