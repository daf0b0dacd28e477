"""No secret that was used is in what the processes log, at the level that logs most."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedded.redis_server import serving_redis
from services.runtime.build import VERSION
from services.runtime.errors import TradeFlowError
from tests.support.public_shop import PASSWORD, PublicShop, next_events, public_shop, until_state
from tests.support.service_processes import SERVICES, ServiceProcesses, service_processes
from tests.support.waiting import eventually

pytestmark = pytest.mark.ci

EVERYTHING = {f"TRADEFLOW_{service.upper()}_LOG_LEVEL": "DEBUG" for service in SERVICES}

IN_A_URL = "hunter2-of-the-database"
"""A password that stands in a URL."""

NOBODY = "127.0.0.1:1"
"""Where no server listens."""


@asynccontextmanager
async def _talkative_shop(data: Path) -> AsyncIterator[tuple[ServiceProcesses, PublicShop]]:
    async with serving_redis() as redis_url:
        with service_processes(data, redis_url, settings=EVERYTHING) as processes:
            await processes.start()
            async with public_shop(processes.gateway_url, processes.data) as shop:
                yield processes, shop


@pytest.mark.timeout(240)
async def test_no_secret_of_a_sign_in_and_an_order_is_logged(tmp_path: Path) -> None:
    async with _talkative_shop(tmp_path / "data") as (processes, shop):
        secrets = await _sign_in_and_order(shop)
        kept = processes.folder.secrets()
        secrets |= {kept.treasury_password, kept.operator_password, kept.orders_client_secret}
        files = {name: process.errors_file for name, process in processes.by_name.items()}

    logged = {name: file.read_text() for name, file in files.items()}
    found = {name for name, text in logged.items() for secret in secrets if secret in text}
    assert found == set()
    for name, text in logged.items():
        _assert_well_formed(name, [json.loads(line) for line in text.splitlines()])
    gateway = [json.loads(line) for line in logged["gateway"].splitlines()]
    routes = {line["route"] for line in gateway if line["event"] == "http_request"}
    assert {"/auth/login", "/api/v1/orders"} <= routes, "what was done is logged"


async def _sign_in_and_order(shop: PublicShop) -> set[str]:
    """Use every kind of secret, wrong ones too, and return all of them."""
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    tokens = await buyer.client.login(buyer.email, PASSWORD)
    sku = await shop.product(seller)
    await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")
    await next_events(buyer, 1)
    wrong = {"a wrong password of mine", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.d3Jvbmc", "no-refresh-token-at-all"}
    with pytest.raises(TradeFlowError):
        await shop.root.another().login(buyer.email, "a wrong password of mine")
    async with httpx.AsyncClient(base_url=shop.root.base_url, trust_env=False, timeout=20) as http:
        ticket = await http.post("/auth/ticket", headers={"Authorization": f"Bearer {tokens.access_token}"})
        refused = [
            await http.get("/api/v1/orders", headers={"Authorization": f"Bearer {sorted(wrong)[1]}"}),
            await http.post("/auth/refresh", json={"refresh_token": "no-refresh-token-at-all"}),
            await http.post("/auth/register", content=b'{"password": "a wrong password of mine"'),
        ]
    assert [answer.is_error for answer in refused] == [True] * 3
    used = {PASSWORD, tokens.access_token, tokens.refresh_token, ticket.json()["ticket"], *wrong}
    return used | {token.rpartition(".")[2] for token in used if token.startswith("eyJ")}


def _assert_well_formed(name: str, lines: list[dict[str, Any]]) -> None:
    assert lines, f"{name} logs nothing"
    for line in lines:
        assert {"timestamp", "level", "event", "service", "version"} <= line.keys(), line
        assert (line["service"], line["version"]) == (name, VERSION)
        if line["event"] in {"http_request", "grpc_call"}:
            assert len(line["trace_id"]) == 32
            assert len(line["span_id"]) == 16


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("service", "setting", "url", "complaint"),
    [
        ("ledger", "DATABASE_URL", f"mysql://tradeflow:{IN_A_URL}@{NOBODY}/ledger", "service_failed"),
        ("orders", "DATABASE_URL", f"mysql://tradeflow:{IN_A_URL}@{NOBODY}/orders", "service_failed"),
        ("ledger", "DATABASE_URL", f"oracle://tradeflow:{IN_A_URL}@{NOBODY}/ledger", "service_failed"),
        ("ledger", "BROKER_URL", f"rabbit://tradeflow:{IN_A_URL}@{NOBODY}", "service_failed"),
        ("gateway", "REDIS_URL", f"redis://tradeflow:{IN_A_URL}@{NOBODY}/0", "redis_unavailable"),
    ],
)
async def test_no_password_of_a_url_is_logged_when_nobody_answers_there(
    tmp_path: Path, service: str, setting: str, url: str, complaint: str
) -> None:
    async with serving_redis() as redis_url:
        variables = {**EVERYTHING, f"TRADEFLOW_{service.upper()}_{setting}": url}
        with service_processes(tmp_path / "data", redis_url, settings=variables) as processes:
            process = processes.by_name[service]
            process.begin()
            async with httpx.AsyncClient(base_url=processes.http_url(service), trust_env=False, timeout=20) as http:

                async def complains() -> bool:
                    with suppress(httpx.TransportError):
                        await http.get("/readyz")
                    return complaint in process.errors_file.read_text()

                await eventually(complains, seconds_max=120)
            await asyncio.to_thread(process.stop)
            told = process.errors_file.read_text()

    assert IN_A_URL not in told
