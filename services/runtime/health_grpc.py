"""gRPC's health service says what `/readyz` says."""

import asyncio
from collections.abc import Iterable

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from services.runtime.health import Health

LOOK_EVERY_SECONDS = 1.0
"""Between two looks at the checks: a probe asks every few seconds, and a watcher is told of a change at once."""


async def follow(health: Health, servicer: health_aio.HealthServicer, service_names: Iterable[str]) -> None:
    """Set the status of each service, and that of the server as a whole (the empty name), until cancelled."""
    names = ("", *service_names)
    while True:
        ready = (await health.readiness()).ready
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in names:
            await servicer.set(name, status)
        await asyncio.sleep(LOOK_EVERY_SECONDS)
