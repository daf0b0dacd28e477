"""What a process says of itself, by HTTP and by gRPC: while its database is away, and while it stops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.ledger.inbound.proof_service import SERVICE_NAME as PROOF_SERVICE_NAME
from services.ledger.wiring import SERVICE_NAME, RunningLedger, running
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema
from tests.support.issuer import running_issuer
from tests.support.ledger import ledger_settings
from tests.support.waiting import eventually

SECONDS_MAX = 50.0
"""How long a change of state may take to show; a check gives up after two seconds, and the machine may be busy."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class Probes:
    """Asks as an orchestrator does."""

    http: httpx.AsyncClient
    health: Any

    async def status(self, path: str) -> int:
        return (await self.http.get(path)).status_code

    async def checks(self) -> dict[str, str]:
        checks: dict[str, str] = (await self.http.get("/readyz")).json()["checks"]
        return checks

    async def services(self) -> set[int]:
        """Ask gRPC for the server, and for each service."""
        requests = [health_pb2.HealthCheckRequest(service=name) for name in ("", SERVICE_NAME, PROOF_SERVICE_NAME)]
        return {(await self.health.Check(request, timeout=10)).status for request in requests}


@asynccontextmanager
async def _probing(ledger: RunningLedger) -> AsyncIterator[Probes]:
    async with (
        httpx.AsyncClient(base_url=ledger.http_url, trust_env=False, timeout=20) as http,
        grpc.aio.insecure_channel(ledger.grpc_target) as channel,
    ):
        yield Probes(http, health_pb2_grpc.HealthStub(channel))


@pytest.mark.part("mysql")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("trouble", ["gone", "hangs"])
async def test_a_ledger_is_not_ready_while_its_database_is_away(
    tmp_path: Path, private_server: Callable[..., Server], trouble: str
) -> None:
    server = private_server("mysql")
    await asyncio.to_thread(server.start)
    with fresh_schema(server.url) as url:
        async with running_issuer() as issuer:
            settings = ledger_settings(tmp_path, issuer).model_copy(update={"database_url": url})
            async with running(settings) as ledger, _probing(ledger) as probes:
                assert await probes.status("/readyz") == 200
                await eventually(lambda: _are(probes, SERVING), seconds_max=SECONDS_MAX)

                await asyncio.to_thread(server.kill if trouble == "gone" else server.pause)
                await eventually(lambda: _is(probes, "/readyz", 503), seconds_max=SECONDS_MAX)
                await eventually(lambda: _are(probes, NOT_SERVING), seconds_max=SECONDS_MAX)
                assert await probes.status("/healthz") == 200, "who is alive is not restarted for his database"

                await asyncio.to_thread(server.start if trouble == "gone" else server.resume)
                await eventually(lambda: _is(probes, "/readyz", 200), seconds_max=SECONDS_MAX)
                await eventually(lambda: _are(probes, SERVING), seconds_max=SECONDS_MAX)


async def test_a_ledger_that_stops_says_so_first_and_serves_on_until_others_have_heard(tmp_path: Path) -> None:
    async with running_issuer() as issuer:
        settings = ledger_settings(tmp_path, issuer).model_copy(update={"unready_seconds": 30.0})
        stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def live() -> None:
            async with running(settings) as ledger:
                started.set_result(ledger)
                await stop.wait()

        life = asyncio.create_task(live())
        async with _probing(await asyncio.wait_for(started, SECONDS_MAX)) as probes:
            assert await probes.status("/readyz") == 200
            stop.set()
            await eventually(lambda: _is(probes, "/readyz", 503), seconds_max=SECONDS_MAX)
            await eventually(lambda: _are(probes, NOT_SERVING), seconds_max=SECONDS_MAX)
            assert (await probes.checks())["draining"] == "the service is stopping"
            assert await probes.status("/healthz") == 200
            assert not life.done()
        life.cancel()
        await asyncio.wait({life})


async def _is(probes: Probes, path: str, status: int) -> bool:
    return await probes.status(path) == status


async def _are(probes: Probes, status: int) -> bool:
    return await probes.services() == {status}
