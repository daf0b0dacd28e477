"""Metrics: a registry for each service, so that several services can live in one process without mixing.

Rates, errors and durations are histograms by route template or RPC method, never by path: a path holds ids. All of them
are listed in docs/metrics.md.
"""

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from services.runtime.build import VERSION

METRICS_MEDIA_TYPE = CONTENT_TYPE_LATEST.partition("; charset")[0]
"""The media type of `render`; Litestar adds the charset."""

DURATION_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""A call's buckets: from a cached read to the longest deadline."""


def new_registry(service: str) -> CollectorRegistry:
    """Make the registry of one service, with what is known of its process and its build."""
    # The `_created` series double the output, and nobody reads them.
    disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no annotation there
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    built = Gauge("tradeflow_build_info", "1; what runs", ("service", "version", "python"), registry=registry)
    built.labels(service, VERSION, platform.python_version()).set(1)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Render the metrics in the Prometheus text format."""
    return generate_latest(registry)


class HttpMetrics:
    """How many HTTP requests, how they ended, how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.duration_seconds = Histogram(
            "tradeflow_http_request_duration_seconds",
            "Time from the request's head to the end of its response",
            ("method", "route", "status"),
            buckets=DURATION_BUCKETS_SECONDS,
            registry=registry,
        )
        self.in_progress = Gauge(
            "tradeflow_http_requests_in_progress", "Requests being answered", ("method",), registry=registry
        )
        self.websockets = Gauge("tradeflow_websocket_connections", "Open WebSockets", registry=registry)


class GrpcMetrics:
    """How many RPCs, how they ended, how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.duration_seconds = Histogram(
            "tradeflow_grpc_call_duration_seconds",
            "Time from the call's start to its status",
            ("method", "code"),
            buckets=DURATION_BUCKETS_SECONDS,
            registry=registry,
        )
        self.in_progress = Gauge(
            "tradeflow_grpc_calls_in_progress", "Calls being answered", ("method",), registry=registry
        )


class LoopMetrics:
    """How background loops fare."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.crashes = Counter(
            "tradeflow_background_crashes", "Loops that died and were started again", ("loop",), registry=registry
        )
        self.running = Gauge(
            "tradeflow_background_running",
            "1 while the loop runs or waits to be started again, 0 once it has ended",
            ("loop",),
            registry=registry,
        )
