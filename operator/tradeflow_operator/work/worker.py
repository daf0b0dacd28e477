"""Workers: each takes a resource from the queue, visits it, and says when it is to be visited again."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from tradeflow_operator.errors import NotLeaderError, OperatorError
from tradeflow_operator.kinds import Kinds
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.resources import ObjectKey
from tradeflow_operator.work.backoff import backoff_seconds, jittered_seconds
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.lease import Leadership
from tradeflow_operator.work.queue import Priority, WorkQueue
from tradeflow_operator.work.visit import CONFLICT, GONE, Outcome, Visitor

logger = structlog.get_logger(__name__)

VISIT_SECONDS_MAX = 120.0
"""How long a visit may take before it is cut off: a hanging call must not take a worker for good."""

MEASURED_EVERY_SECONDS = 5.0
"""How often conflicts are counted, and how long differences have stood: more often than anybody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLimits:
    """What a person sets."""

    workers: int
    """Resources that are worked on at a time."""
    resync_seconds: float
    """How often a resource is looked at without a change."""
    backoff_longest_seconds: float
    """How long at most to wait after failures in a row."""


class Workers:
    """A pool of them. While another process leads, they wait."""

    def __init__(
        self,
        kinds: Kinds,
        known: KnownResources,
        queue: WorkQueue,
        visitor: Visitor,
        leadership: Leadership,
        metrics: OperatorMetrics,
        limits: WorkLimits,
    ) -> None:
        """Prepare."""
        self._kinds = kinds
        self._known = known
        self._queue = queue
        self._visitor = visitor
        self._leadership = leadership
        self._metrics = metrics
        self._limits = limits
        self._failures: dict[ObjectKey, int] = {}
        self._started: dict[ObjectKey, float] = {}
        self._drifted_since: dict[ObjectKey, float] = {}
        self._in_conflict: set[ObjectKey] = set()
        metrics.started_at.set_function(lambda: min(self._started.values(), default=0.0))
        for priority in Priority:
            metrics.queue_depth.labels(priority.name.lower()).set_function(
                lambda waiting=priority: float(queue.depth(waiting))  # type: ignore[misc] # bound early
            )

    async def run(self) -> None:
        """Work for ever; cancel to stop: steps that are under way are cut off, and seen again at the next start."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._limits.workers):
                group.create_task(self._work(), name=f"worker-{number}")
            group.create_task(self._measure_what_stands(), name="standing")

    async def _work(self) -> None:
        while True:
            await self._leadership.wait_until_leading()
            key = await self._queue.take()
            try:
                await self._visit(key)
            finally:
                self._queue.done(key)

    async def _visit(self, key: ObjectKey) -> None:
        kind = self._kinds[key.kind]
        began = time.monotonic()
        self._started[key] = time.time()
        try:
            async with asyncio.timeout(VISIT_SECONDS_MAX):
                outcome = await self._visitor.visit(kind, key, failures_before=self._failures.get(key, 0))
        except NotLeaderError:
            # Back into the queue: whoever leads next finds everything there.
            self._queue.add_later(key, 1.0, Priority.CHANGED)
            outcome = Outcome(word="not_leader")
        except OperatorError as error:
            logger.warning("visit_failed", resource=str(key), reason=error.reason, problem=error.message)
            outcome = Outcome(word="unavailable", failed=True)
        except TimeoutError:
            logger.warning("visit_cut_off", resource=str(key), seconds_max=VISIT_SECONDS_MAX)
            outcome = Outcome(word="failed", failed=True)
        except Exception:  # the edge of the loop: one resource must not stop the others
            logger.exception("visit_crashed", resource=str(key))
            outcome = Outcome(word="failed", failed=True)
        finally:
            self._started.pop(key, None)
        self._metrics.reconciles.labels(kind.name, outcome.word).inc()
        self._metrics.duration_seconds.labels(kind.name).observe(time.monotonic() - began)
        if outcome.word != "not_leader":
            self._schedule(key, outcome)

    def _schedule(self, key: ObjectKey, outcome: Outcome) -> None:
        self._note_what_stands(key, outcome)
        if outcome is GONE:
            self._failures.pop(key, None)
            return
        if outcome.failed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            seconds = backoff_seconds(failures, longest_seconds=self._limits.backoff_longest_seconds)
            if outcome.again_seconds is not None and failures == 1:
                seconds = outcome.again_seconds
            self._queue.add_later(key, seconds)
            return
        self._failures.pop(key, None)
        resync_seconds = jittered_seconds(self._limits.resync_seconds)
        if outcome.again_seconds is not None and outcome.again_seconds < resync_seconds:
            self._queue.add_later(key, outcome.again_seconds, Priority.WOKEN)
        else:
            self._queue.add_later(key, resync_seconds)

    def _note_what_stands(self, key: ObjectKey, outcome: Outcome) -> None:
        """Note what doesn't end by itself: differences and conflicts."""
        if outcome.corrected:
            self._metrics.corrections.labels(key.kind).inc()
        if outcome.word == CONFLICT:
            self._in_conflict.add(key)
        else:
            self._in_conflict.discard(key)
        if outcome.drifted:
            self._drifted_since.setdefault(key, time.monotonic())
        elif outcome.drifted is False:
            self._drifted_since.pop(key, None)

    async def _measure_what_stands(self) -> None:
        while True:
            self._forget_the_gone()
            conflicts = Counter(key.kind for key in self._in_conflict if self._leadership.leads)
            for each in self._kinds:
                self._metrics.conflicts.labels(each.name).set(conflicts[each.name])
            for kind, seconds in self._oldest_drifts().items():
                self._metrics.drift_seconds.labels(kind).set(seconds)
            await asyncio.sleep(MEASURED_EVERY_SECONDS)

    def _forget_the_gone(self) -> None:
        """Remember nothing of resources that are gone: most go without a visit."""
        memories: Sequence[dict[ObjectKey, Any]] = (self._failures, self._drifted_since)
        for memory in memories:
            for key in [key for key in memory if self._known.get(key) is None]:
                del memory[key]
        self._in_conflict = {key for key in self._in_conflict if self._known.get(key) is not None}

    def _oldest_drifts(self) -> Mapping[str, float]:
        """Tell how long the oldest difference of each kind has stood; who doesn't lead sees none."""
        now = time.monotonic()
        oldest: dict[str, float] = defaultdict(float, {kind.name: 0.0 for kind in self._kinds})
        for key, since in self._drifted_since.items() if self._leadership.leads else ():
            oldest[key.kind] = max(oldest[key.kind], now - since)
        return oldest
