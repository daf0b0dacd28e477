"""DatabaseMigration: Jobs of a service's image, and what their Pods said."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from tradeflow_operator.clients.kubernetes import AlreadyExistsError, KubernetesClient, object_path
from tradeflow_operator.conditions import condition_of
from tradeflow_operator.kinds import Kind
from tradeflow_operator.reconcile.database_migration import (
    CreateJob,
    DeleteJob,
    JobSeen,
    MigrationSeen,
    plan_migration,
)
from tradeflow_operator.reconcile.migration_job import RUN_LABEL, DatabaseMigrationSpec, job_names_of
from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.resources import Resource, instant_of

_JOBS = "apis/batch/v1"

HINDERED = frozenset(
    {"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"}
)
"""Why a container waits until a person acts. Source: the kubelet's reasons; ErrImagePull alone may pass by itself."""

OUT_OF_TIME = "DeadlineExceeded"
"""The reason of a Job that took longer than its activeDeadlineSeconds. Source: the Job controller."""

HINDRANCE_CHARACTERS_MAX = 300
"""Of what the kubelet or the scheduler says."""


class DatabaseMigrationKind(Kind[DatabaseMigrationSpec, MigrationSeen]):
    """Runs migrations."""

    name: ClassVar[str] = "DatabaseMigration"
    plural: ClassVar[str] = "databasemigrations"
    spec_type = DatabaseMigrationSpec

    def __init__(self, kubernetes: KubernetesClient) -> None:
        """Take a client."""
        self._kubernetes = kubernetes

    async def observe(self, resource: Resource[DatabaseMigrationSpec]) -> MigrationSeen:
        """Read the Jobs, and the last words of their Pods."""
        plan_name, apply_name = job_names_of(resource)
        label = resource.name[:63].rstrip("-.")
        jobs = await self._list(_JOBS, "jobs", resource.namespace, f"{RUN_LABEL}={label}")
        own = {
            job["metadata"]["name"]: job
            for job in jobs
            if any(owner.get("uid") == resource.uid for owner in job["metadata"].get("ownerReferences") or ())
        }
        seen = {name: await self._seen(job) for name, job in own.items()}
        # What runs is left to end; what never began would only hold a place, or begin long after it was given up.
        stale = [
            name
            for name, job in seen.items()
            if name not in {plan_name, apply_name} and (job.state != "Running" or job.waits_since is not None)
        ]
        return MigrationSeen(
            plan_job=seen.get(plan_name), apply_job=seen.get(apply_name), stale_jobs=tuple(sorted(stale))
        )

    def plan(self, resource: Resource[DatabaseMigrationSpec], observed: MigrationSeen, now: datetime) -> Plan:
        """Decide."""
        return plan_migration(resource, observed, now)

    async def apply(self, resource: Resource[DatabaseMigrationSpec], step: Step) -> None:
        """Take one step; a Job that is there already is the one that was wanted, since its name says what it does."""
        if isinstance(step, CreateJob):
            try:
                await self._kubernetes.create(object_path(_JOBS, "jobs", resource.namespace), step.body)
            except AlreadyExistsError:
                return
        elif isinstance(step, DeleteJob):
            await self._kubernetes.delete(object_path(_JOBS, "jobs", resource.namespace, step.name))

    async def _seen(self, job: Mapping[str, Any]) -> JobSeen:
        name, state = job["metadata"]["name"], _state_of(job)
        namespace = job["metadata"]["namespace"]
        pods = await self._list("api/v1", "pods", namespace, f"batch.kubernetes.io/job-name={name}")
        if state == "Running":
            return JobSeen(
                name=name,
                state=state,
                has_pods=bool(pods),
                hindrance=_hindrance(pods),
                without_node=_without_node(pods),
                waits_since=None if _has_begun(pods) else instant_of(job["metadata"].get("creationTimestamp")),
            )
        failed = condition_of(job["status"], "Failed") or {}
        return JobSeen(
            name=name,
            state=state,
            last_words=_last_words(pods),
            has_pods=bool(pods),
            out_of_time=failed.get("reason") == OUT_OF_TIME,
            failed_at=instant_of(failed.get("lastTransitionTime")),
        )

    async def _list(self, api: str, plural: str, namespace: str, selector: str) -> list[dict[str, Any]]:
        found = await self._kubernetes.read(object_path(api, plural, namespace), {"labelSelector": selector})
        items: list[dict[str, Any]] = (found or {}).get("items") or []
        return items


def _state_of(job: Mapping[str, Any]) -> Any:
    """Tell how a Job ended, by its conditions: counts come before the Job is over."""
    conditions = {each["type"]: each["status"] for each in (job.get("status") or {}).get("conditions") or ()}
    if conditions.get("Complete") == "True":
        return "Succeeded"
    return "Failed" if conditions.get("Failed") == "True" else "Running"


def _last_words(pods: list[dict[str, Any]]) -> str:
    """Return what the container said that ended last."""
    ended = [state["terminated"] for state in _container_states(pods) if state.get("terminated")]
    latest: Mapping[str, Any] = max(ended, key=lambda end: end.get("finishedAt") or "", default={})
    return str(latest.get("message") or "")


def _hindrance(pods: list[dict[str, Any]]) -> str:
    """Say why a container can't start, if a person has to act."""
    for state in _container_states(pods):
        waiting = state.get("waiting") or {}
        if waiting.get("reason") in HINDERED:
            return _told(waiting)
    return ""


def _without_node(pods: list[dict[str, Any]]) -> str:
    """Say why the scheduler finds no node for a Pod."""
    for pod in pods:
        scheduled = condition_of(pod.get("status") or {}, "PodScheduled") or {}
        if (scheduled.get("status"), scheduled.get("reason")) == ("False", "Unschedulable"):
            return _told(scheduled)
    return ""


def _told(state: Mapping[str, Any]) -> str:
    """Write a reason and its message as a sentence."""
    said = str(state.get("message") or "")[:HINDRANCE_CHARACTERS_MAX].rstrip(" .")
    return f"{state['reason']}: {said}." if said else f"{state['reason']}."


def _has_begun(pods: list[dict[str, Any]]) -> bool:
    """Tell whether a container of any Pod ran."""
    return any((pod.get("status") or {}).get("phase", "Pending") != "Pending" for pod in pods)


def _container_states(pods: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        container.get("state") or {}
        for pod in pods
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
