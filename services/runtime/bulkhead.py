"""A bulkhead: a bounded number of places for those who wait for one target, so that a slow one can't take all there is.

Who finds no place is told so at once, with a hint when to come back: waiting in line for a place would only move the
queue to where nothing bounds it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.errors import UnavailableError

RETRY_AFTER_SECONDS: Final = 1.0
"""The hint for those who found no place: by then calls have been answered, or their deadline is nearer."""


class BulkheadMetrics:
    """How full the bulkheads are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.taken = Gauge("tradeflow_bulkhead_taken", "Places that are taken now", ("target",), registry=registry)
        self.places = Gauge("tradeflow_bulkhead_places", "Places that there are", ("target",), registry=registry)
        self.refused = Counter(
            "tradeflow_bulkhead_refused", "Calls that found no place", ("target",), registry=registry
        )


class Bulkhead:
    """Places for calls to one target."""

    def __init__(self, target: str, *, places_max: int, metrics: BulkheadMetrics | None = None) -> None:
        """Begin empty; `target` is a word for metrics and for the reason `{target}_busy`."""
        metrics = metrics or BulkheadMetrics(CollectorRegistry())
        self._target = target
        self._places_max = places_max
        self._taken = 0
        self._refused = metrics.refused.labels(target)
        metrics.places.labels(target).set(places_max)
        metrics.taken.labels(target).set_function(lambda: self._taken)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place while the body runs.

        Raises:
            UnavailableError: `{target}_busy`: there is none.
        """
        if self._taken >= self._places_max:
            self._refused.inc()
            raise UnavailableError(
                f"Too many calls wait for the {self._target}.",
                reason=f"{self._target}_busy",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
