"""Who is told how a gateway is: strangers no more than whether it is ready, once metrics have a port of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_server import serving_http
from tests.parts.home import free_port
from tests.support.gateway_world import GatewayWorld, gateway_world

AN_ISSUER = {"name": "staff", "issuer": "http://127.0.0.1:9", "audience": "tradeflow"}


@asynccontextmanager
async def worlds_apart(folder: Path) -> AsyncIterator[tuple[GatewayWorld, httpx.AsyncClient]]:
    """Start a gateway with a port of metrics, and a client of that port."""
    port = free_port()
    async with (
        gateway_world(folder, metrics_port=port, external_issuers=[AN_ISSUER]) as world,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10.0) as apart,
    ):
        yield world, apart


async def test_metrics_are_at_their_own_port_and_no_more_at_the_public_one(tmp_path: Path) -> None:
    async with worlds_apart(tmp_path) as (world, apart):
        await world.http.get("/api/v1/orders", headers=world.bearer())
        public = await world.http.get("/metrics")
        shown = await apart.get("/metrics")

    assert (public.status_code, "tradeflow_" in public.text) == (404, False)
    assert shown.status_code == 200
    assert 'tradeflow_http_request_duration_seconds_count{method="GET",route="/api/v1/orders' in shown.text


async def test_strangers_hear_whether_a_gateway_is_ready_and_monitoring_hears_why(tmp_path: Path) -> None:
    async with worlds_apart(tmp_path) as (world, apart):
        public = await world.http.get("/readyz")
        alive = await world.http.get("/healthz")
        told = await apart.get("/readyz")

    assert (public.status_code, public.json()) == (200, {"status": "ready"})
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert told.json()["hints"]["issuer_staff"] != "ok"
    assert told.json()["checks"] == {"redis": "ok"}


async def test_strangers_hear_no_reason_why_a_process_is_unwell() -> None:
    health = Health()

    async def is_away() -> None:
        raise ConnectionError("db-1.internal is away")

    health.add("database", is_away)
    health.note_ended("relay")
    app = create_http_app(title="Shop", route_handlers=[], verifier=None, health=health, probes_apart=True)
    async with serving_http(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        ready, alive = await http.get("/readyz"), await http.get("/healthz")

    assert (ready.status_code, ready.json()) == (503, {"status": "not_ready"})
    assert (alive.status_code, alive.json()) == (503, {"status": "dead"})


@pytest.mark.parametrize("path", ["/", "/api/v1/orders", "/schema", "/.well-known/jwks.json"])
async def test_the_port_of_metrics_has_nothing_else(tmp_path: Path, path: str) -> None:
    async with worlds_apart(tmp_path) as (_, apart):
        assert (await apart.get(path)).status_code == 404


async def test_without_a_port_of_their_own_metrics_stay_where_they_are(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        metrics, ready = await world.http.get("/metrics"), await world.http.get("/readyz")

    assert metrics.status_code == 200
    assert ready.json()["checks"] == {"redis": "ok"}
