"""What Prometheus can ask this process."""

import platform
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.process_collector import ProcessCollector

DURATION_BUCKETS_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""A reconcile's buckets: from a look to a roll-out's step."""


class OperatorMetrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register them."""
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no annotation there
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        Gauge("tradeflow_operator_build_info", "1; what runs", ("python",), registry=registry).labels(
            platform.python_version()
        ).set(1)
        self.reconciles = Counter(
            "tradeflow_operator_reconciles",
            "Visits to resources, by how they ended",
            ("kind", "outcome"),
            registry=registry,
        )
        self.duration_seconds = Histogram(
            "tradeflow_operator_reconcile_duration_seconds",
            "Time of one visit",
            ("kind",),
            buckets=DURATION_BUCKETS_SECONDS,
            registry=registry,
        )
        self.started_at = Gauge(
            "tradeflow_operator_reconcile_oldest_start_timestamp_seconds",
            "When the visit that is longest under way began; 0 when there is none",
            registry=registry,
        )
        self._add_watches(registry)
        self._add_world(registry)

    def _add_watches(self, registry: CollectorRegistry) -> None:
        self.queue_depth = Gauge(
            "tradeflow_operator_queue_depth", "Resources that wait for a worker", ("priority",), registry=registry
        )
        self.resources = Gauge("tradeflow_operator_resources", "Resources that are known", ("kind",), registry=registry)
        self.last_event_age_seconds = Gauge(
            "tradeflow_operator_watch_last_event_age_seconds",
            "Time since the watch last told something",
            ("kind",),
            registry=registry,
        )
        self.watch_misses = Counter(
            "tradeflow_operator_watch_misses",
            "Changes that the watch didn't tell and a listing found",
            ("kind",),
            registry=registry,
        )

    def _add_world(self, registry: CollectorRegistry) -> None:
        self.drift_seconds = Gauge(
            "tradeflow_operator_drift_seconds",
            "How long the oldest difference that isn't mended has stood",
            ("kind",),
            registry=registry,
        )
        self.conflicts = Gauge(
            "tradeflow_operator_conflicts",
            "Resources that name what another resource has",
            ("kind",),
            registry=registry,
        )
        self.corrections = Counter(
            "tradeflow_operator_corrections",
            "Visits that changed what was in sync before, without a new wish: drift that is mended, keys that are due",
            ("kind",),
            registry=registry,
        )
        self.key_age_seconds = Gauge(
            "tradeflow_operator_key_age_seconds",
            "Age of the active signing key",
            ("namespace", "name"),
            registry=registry,
        )
        self.schema_incompatibilities = Counter(
            "tradeflow_operator_schema_incompatibilities",
            "Schemas that were refused as incompatible",
            registry=registry,
        )
        self.writes = Counter(
            "tradeflow_operator_writes", "Writes that were started, by where", ("target", "verb"), registry=registry
        )
        self.leading = Gauge("tradeflow_operator_leading", "1 while this process leads", registry=registry)

    def measure_age(self, gauge: Gauge, *labels: str, since: Callable[[], float | None]) -> None:
        """Let a gauge tell the age of an instant (by `time.monotonic`), 0 when there is none."""

        def age() -> float:
            instant = since()
            return 0.0 if instant is None else time.monotonic() - instant

        (gauge.labels(*labels) if labels else gauge).set_function(age)

    def render(self) -> bytes:
        """Write them in Prometheus' text format."""
        return generate_latest(self.registry)
