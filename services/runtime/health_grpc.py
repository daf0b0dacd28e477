"""gRPC's health service says what `/readyz` says, and of a replica that may lead others, whether it does."""

import asyncio
from collections.abc import Callable, Sequence

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from services.runtime.grpc_leader import leader_of
from services.runtime.health import Health

LOOK_EVERY_SECONDS = 1.0
"""Between two looks at the checks: a probe asks every few seconds, and a watcher is told of a change at once."""


_STATUS = {True: health_pb2.HealthCheckResponse.SERVING, False: health_pb2.HealthCheckResponse.NOT_SERVING}

Leads = Callable[[], bool]
"""Tells whether this replica should get the calls that one replica does best."""


async def follow(
    health: Health, servicer: health_aio.HealthServicer, service_names: Sequence[str], leads: Leads | None = None
) -> None:
    """Set the status of each service, and that of the server as a whole (the empty name), until cancelled.

    With `leads`, each service's leader has a name too: it serves where this replica is ready and leads.
    """
    names = ("", *service_names)
    while True:
        ready = (await health.readiness()).ready
        for name in names:
            await servicer.set(name, _STATUS[ready])
        if leads is not None:
            for name in service_names:
                await servicer.set(leader_of(name), _STATUS[ready and leads()])
        await asyncio.sleep(LOOK_EVERY_SECONDS)
