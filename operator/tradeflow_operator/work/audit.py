"""Compares the watches with listings: at first until they have told all that is there, and then now and then.

Nobody works on a kind before its watch has told all: who owns what several claim follows from all that claim it, and by
half a listing the newer of two would own it. Later a watch can die in silence, or miss what was deleted meanwhile.

Listings are of metadata alone, in chunks. What the watch missed is taken in; a watch that misses too much for too long
makes the process unhealthy, and Kubernetes starts it again.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path
from tradeflow_operator.errors import OperatorError
from tradeflow_operator.kinds import Kind, Kinds
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.resources import ObjectKey
from tradeflow_operator.work.backoff import backoff_seconds
from tradeflow_operator.work.intake import Intake
from tradeflow_operator.work.known import KnownResources

logger = structlog.get_logger(__name__)

CHUNK = 500
"""Resources in one answer."""

LATE_SECONDS = 10.0
"""How late a watch may be before what it hasn't told counts as missed."""

LISTED_ANEW_SECONDS = 2.0
"""How long the first listing is waited for before what is there is asked again: some of it may have gone meanwhile."""

HEARD_EVERY_SECONDS = 0.05
"""How often is looked whether the first listing has come in: workers wait for it."""

RETRY_LONGEST_SECONDS = 10.0
"""The longest wait between attempts at a first listing that fails, as for the watches themselves."""

MISSING_AUDITS_MAX = 3
"""So many audits in a row in which the same watch missed something make the process unhealthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditScope:
    """How often, and where."""

    every_seconds: float
    namespaces: tuple[str, ...] = ()
    """Empty means all."""


class WatchAudit:
    """Audits the watches of all kinds."""

    def __init__(
        self,
        kinds: Kinds,
        known: KnownResources,
        intake: Intake,
        kubernetes: KubernetesClient,
        metrics: OperatorMetrics,
        scope: AuditScope,
    ) -> None:
        """Prepare."""
        self._kinds = kinds
        self._known = known
        self._intake = intake
        self._kubernetes = kubernetes
        self._metrics = metrics
        self._scope = scope
        self._missed_in_a_row: dict[str, int] = {}
        self._audited_at: dict[str, float] = {}
        for kind in kinds:
            metrics.measure_age(
                metrics.last_event_age_seconds,
                kind.name,
                since=lambda name=kind.name: intake.last_event_at.get(name),  # type: ignore[misc] # bound early
            )

    def stale_watches(self) -> list[str]:
        """List the kinds whose watches can't be believed."""
        return sorted(kind for kind, misses in self._missed_in_a_row.items() if misses >= MISSING_AUDITS_MAX)

    async def run(self) -> None:
        """Release each kind once its watch has told all that is there, and audit for ever."""
        async with asyncio.TaskGroup() as group:
            for kind in self._kinds:
                group.create_task(self.release(kind), name=f"first-listing-{kind.plural}")
            group.create_task(self._audit_for_ever(), name="audits")

    async def release(self, kind: Kind[Any, Any]) -> None:
        """Wait until all is known that is there of a kind, and let it be worked on.

        One that can't be listed stays held back, and the others don't.
        """
        failures = 0
        while True:
            try:
                there = await self._versions(kind)
            except OperatorError as error:
                failures += 1
                logger.warning("not_listed_yet", kind=kind.name, reason=error.reason, problem=error.message)
                await asyncio.sleep(backoff_seconds(failures, longest_seconds=RETRY_LONGEST_SECONDS))
                continue
            if await self._heard_of(there):
                self._intake.release(kind.name)
                return

    async def _heard_of(self, keys: Iterable[ObjectKey]) -> bool:
        """Wait a while until the watches have told these; what goes meanwhile they never tell."""
        until = time.monotonic() + LISTED_ANEW_SECONDS
        while missing := [key for key in keys if self._known.get(key) is None]:
            if time.monotonic() > until:
                return False
            keys = missing
            await asyncio.sleep(HEARD_EVERY_SECONDS)
        return True

    async def _audit_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._scope.every_seconds)
            for kind in self._kinds:
                try:
                    await self.audit(kind)
                except OperatorError as error:
                    logger.warning("audit_failed", kind=kind.name, problem=error.message)

    async def audit(self, kind: Kind[Any, Any]) -> int:
        """Compare one kind; return how many changes its watch had missed."""
        suspects = await self._differences(kind)
        if suspects:
            await asyncio.sleep(LATE_SECONDS)
            still = await self._differences(kind)
            suspects = {key: version for key, version in still.items() if suspects.get(key, "") == version}
        for key in suspects:
            await self._take_in(kind, key)
        self._metrics.resources.labels(kind.name).set(sum(1 for _ in self._known.of_kind(kind.name)))
        self._metrics.watch_misses.labels(kind.name).inc(len(suspects))
        self._missed_in_a_row[kind.name] = self._missed_in_a_row.get(kind.name, 0) + 1 if suspects else 0
        self._audited_at[kind.name] = time.monotonic()
        if suspects:
            logger.warning("watch_missed", kind=kind.name, changes=len(suspects))
        return len(suspects)

    async def _differences(self, kind: Kind[Any, Any]) -> dict[ObjectKey, str | None]:
        """Map what differs to the version that the API server has; None is gone."""
        there = await self._versions(kind)
        differing: dict[ObjectKey, str | None] = {
            key: version for key, version in there.items() if self._known_version(key) != version
        }
        return differing | {key: None for key in self._known.of_kind(kind.name) if key not in there}

    def _known_version(self, key: ObjectKey) -> str | None:
        body = self._known.get(key)
        return body["metadata"].get("resourceVersion") if body is not None else None

    async def _versions(self, kind: Kind[Any, Any]) -> dict[ObjectKey, str]:
        versions: dict[ObjectKey, str] = {}
        for namespace in self._scope.namespaces or (None,):
            path = object_path(f"apis/{GROUP}/{VERSION}", kind.plural, namespace)
            token = ""
            while True:
                page = await self._kubernetes.list_metadata(path, limit=CHUNK, token=token)
                for item in page.get("items") or ():
                    metadata = item["metadata"]
                    key = ObjectKey(kind.name, metadata["namespace"], metadata["name"])
                    versions[key] = metadata["resourceVersion"]
                token = (page.get("metadata") or {}).get("continue") or ""
                if not token:
                    break
        return versions

    async def _take_in(self, kind: Kind[Any, Any], key: ObjectKey) -> None:
        path = object_path(f"apis/{GROUP}/{VERSION}", kind.plural, key.namespace, key.name)
        body = await self._kubernetes.read(path)
        if body is None:
            self._intake.gone(key)
        else:
            self._intake.note(kind.name, None, body)
