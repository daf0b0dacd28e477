"""What machines ask of a process: `/healthz`, `/readyz` and `/metrics`.

They are at the service's own door, or, where that door is open to strangers, at a port of their own: the door then says
whether the process is alive and ready, and nothing more. What is wrong, and what the others are called that it talks
to, is for those who run it.
"""

from typing import Any

from litestar import Litestar, Response, get
from litestar.handlers import BaseRouteHandler
from prometheus_client import CollectorRegistry

from services.runtime.health import Health
from services.runtime.http_auth import PUBLIC
from services.runtime.metrics import METRICS_MEDIA_TYPE, render


def create_probes_app(health: Health, registry: CollectorRegistry) -> Litestar:
    """Make the application of a port that nobody but monitoring reaches."""
    return Litestar(
        [*health_routes(health, tells_all=True), metrics_route(registry)], logging_config=None, openapi_config=None
    )


def health_routes(health: Health, *, tells_all: bool) -> list[BaseRouteHandler]:
    """Make the routes of orchestrators.

    Args:
        health: What is asked.
        tells_all: Whether the answers name what is wrong; the status says whether anything is, either way.
    """

    @get("/healthz", opt=PUBLIC, include_in_schema=False)
    async def healthz() -> Response[dict[str, Any]]:
        """Say whether the process is alive, and which of its loops has ended if not."""
        liveness = health.liveness()
        told = {"loops": dict(liveness.loops)} if tells_all else {}
        body = {"status": "alive" if liveness.alive else "dead", **told}
        return Response(body, status_code=200 if liveness.alive else 503)

    @get("/readyz", opt=PUBLIC, include_in_schema=False)
    async def readyz() -> Response[dict[str, Any]]:
        """Say whether the service should get traffic, and what is wrong if not."""
        readiness = await health.readiness()
        told = {"checks": dict(readiness.checks), "hints": dict(readiness.hints)} if tells_all else {}
        body = {"status": "ready" if readiness.ready else "not_ready", **told}
        return Response(body, status_code=200 if readiness.ready else 503)

    return [healthz, readyz]


def metrics_route(registry: CollectorRegistry) -> BaseRouteHandler:
    """Make the route of Prometheus."""

    @get("/metrics", opt=PUBLIC, include_in_schema=False)
    async def metrics() -> Response[bytes]:
        """Show the metrics to Prometheus."""
        return Response(render(registry), media_type=METRICS_MEDIA_TYPE)

    return metrics
