"""A real Prometheus watches three real processes: every query of every dashboard, and alerts that fire."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedded.redis_server import serving_redis
from tests.house.dashboards import CHARTS
from tests.parts.server import Server
from tests.support.ledger_tampering import tamper
from tests.support.public_shop import PublicShop, public_shop, until, until_state
from tests.support.service_processes import SERVICES, ServiceProcesses, service_processes

pytestmark = pytest.mark.part("prometheus")

ALERTS = CHARTS / "tradeflow" / "alerts"

DASHBOARDS = CHARTS / "tradeflow" / "dashboards"
"""Those of the processes that run here; the operator's needs a cluster."""

SECONDS_MAX = 60.0
"""Prometheus looks every other second; the machine may be busy."""

RATE_INTERVAL = "20s"
"""What Grafana puts in the place of $__rate_interval: several looks."""

QUIET_WHEN_WELL = re.compile(
    r'status=~"5\.\.|code=~"INTERNAL|_crashes_|connection_endings|upstream_failures|rate_limited|dead_letters_waiting'
)
"""Queries for what only happens when something goes wrong: they have no data when all is well, and no error either."""

HASTY_AUDIT = {"TRADEFLOW_LEDGER_AUDIT_PAUSE_SECONDS": "0.5"}
"""A broken book is found within a second or two."""


@dataclass
class Watched:
    """Prometheus, and what it watches."""

    processes: ServiceProcesses
    shop: PublicShop
    http: httpx.AsyncClient

    async def ask(self, path: str, **parameters: str) -> Any:
        """Ask Prometheus' API; what it refuses is an error with its message."""
        answer = (await self.http.get(f"/api/v1/{path}", params=parameters)).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    async def firing(self) -> dict[str, dict[str, str]]:
        """Tell which alerts fire, with their labels."""
        alerts = (await self.ask("alerts"))["alerts"]
        return {alert["labels"]["alertname"]: alert["labels"] for alert in alerts if alert["state"] == "firing"}

    async def targets_up(self) -> set[str]:
        """Tell which jobs answer."""
        targets = (await self.ask("targets", state="active"))["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"}


@pytest.fixture
async def watched(tmp_path: Path, prometheus: Callable[..., Server]) -> AsyncIterator[Watched]:
    """Start all of it."""
    async with _services(tmp_path / "data") as (processes, shop):
        jobs = [
            {"job_name": f"tradeflow-{name}", "static_configs": [{"targets": [_address(processes, name)]}]}
            for name in SERVICES
        ]
        server = await asyncio.to_thread(
            prometheus, jobs, rules_folder=_hasty_rules(tmp_path / "rules"), interval_seconds=2
        )
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http:
            yield Watched(processes, shop, http)


@asynccontextmanager
async def _services(data: Path) -> AsyncIterator[tuple[ServiceProcesses, PublicShop]]:
    async with serving_redis() as redis_url:
        with service_processes(data, redis_url, settings=HASTY_AUDIT) as processes:
            await processes.start()
            async with public_shop(processes.gateway_url, processes.data) as shop:
                yield processes, shop


def _address(processes: ServiceProcesses, service: str) -> str:
    return processes.http_url(service).removeprefix("http://")


def _hasty_rules(folder: Path) -> Path:
    """Copy the rules, each of which fires without waiting."""
    folder.mkdir()
    for file in ALERTS.glob("*.yaml"):
        (folder / file.name).write_text(re.sub(r"\n +for: \w+", "", file.read_text()))
    return folder


@pytest.mark.timeout(300)
async def test_all_processes_are_watched_and_every_dashboard_shows_an_order(watched: Watched) -> None:
    all_jobs = {f"tradeflow-{name}" for name in SERVICES}
    await until(watched.targets_up, lambda up: up == all_jobs, "all targets", seconds_max=SECONDS_MAX)
    await _buy(watched.shop)

    async def without_data() -> list[str]:
        answers = {query: (await watched.ask("query", query=query))["result"] for query in _dashboard_queries()}
        return [query for query, result in answers.items() if not result and not QUIET_WHEN_WELL.search(query)]

    await until(without_data, lambda queries: queries == [], "data for all queries", seconds_max=SECONDS_MAX)
    settled = 'sum(tradeflow_orders_state_changes_total{state="SETTLED"})'
    await until(
        lambda: watched.ask("query", query=settled),
        lambda data: [sample["value"][1] for sample in data["result"]] == ["1"],
        "the settled order",
        seconds_max=SECONDS_MAX,
    )


@pytest.mark.timeout(300)
async def test_alerts_fire_for_a_changed_book_and_for_a_dead_process(watched: Watched) -> None:
    await _buy(watched.shop)
    sound = "min(tradeflow_ledger_invariant_holds)"
    await until(
        lambda: watched.ask("query", query=sound),
        lambda data: [sample["value"][1] for sample in data["result"]] == ["1"],
        "a sound book",
        seconds_max=SECONDS_MAX,
    )
    assert "LedgerInvariantBroken" not in await watched.firing()

    ledger = watched.processes.urls.ledger_database
    await asyncio.to_thread(tamper, ledger, "UPDATE balances SET debits_pending = debits_pending + 1")
    broken = await until(
        watched.firing, lambda firing: "LedgerInvariantBroken" in firing, "the alert", seconds_max=SECONDS_MAX
    )
    assert broken["LedgerInvariantBroken"]["invariant"] in {"pending_is_held", "limits_kept"}

    await asyncio.to_thread(watched.processes.by_name["orders"].kill)
    down = await until(watched.firing, lambda firing: "ProcessDown" in firing, "the alert", seconds_max=SECONDS_MAX)
    assert down["ProcessDown"]["job"] == "tradeflow-orders"


async def _buy(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller)
    await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")


def _dashboard_queries() -> list[str]:
    panels = [panel for file in sorted(DASHBOARDS.glob("*.json")) for panel in json.loads(file.read_text())["panels"]]
    queries = {target["expr"] for panel in panels for target in panel.get("targets", [])}
    return sorted(query.replace("$__rate_interval", RATE_INTERVAL) for query in queries)
