"""A service that leaves its tables to `tradeflow migrate`: when it starts, and what it says when it is asked."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from services.ledger.settings import LedgerSettings
from services.ledger.wiring import running as running_ledger
from services.orders.settings import OrdersSettings
from services.orders.wiring import running as running_orders
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database
from services.runtime.errors import RefusedError

NOBODY_THERE = "http://127.0.0.1:9/nobody"


def settings_of(url: str) -> dict[str, Any]:
    """List what both services are told: where their tables are, and that they leave them alone."""
    return {
        "database_url": url,
        "broker_url": f"{url}.broker",
        "issuer": NOBODY_THERE,
        "jwks_url": NOBODY_THERE,
        "http_port": 0,
        "grpc_port": 0,
        "migrate_on_start": False,
    }


def ledger(url: str) -> AbstractAsyncContextManager[Any]:
    return running_ledger(LedgerSettings(**settings_of(url)))


def orders(url: str) -> AbstractAsyncContextManager[Any]:
    settings = OrdersSettings(
        **settings_of(url),
        ledger_grpc_target="127.0.0.1:9",
        token_url=NOBODY_THERE,
        client_secret=SecretStr("nobody asks"),
    )
    return running_orders(settings)


SERVICES = [pytest.param("ledger", ledger, id="ledger"), pytest.param("orders", orders, id="orders")]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/service.db"


async def apply(url: str, service: str, *statements: str) -> None:
    database = open_database(url)
    await migrate(database, f"services.{service}.migrations", phases=["pre"])
    for statement in statements:
        async with database.transaction() as connection:
            await connection.execute(statement)
    await database.close()


def newer(name: str, phase: str) -> str:
    """Write what newer code leaves behind."""
    return f"INSERT INTO schema_migrations (name, phase, checksum, applied_at) VALUES ('{name}', '{phase}', 'x', 0)"  # noqa: S608 - a test's own words


async def schema_said(http_url: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = (await http.get(f"{http_url}/readyz")).json()
    return str(answer["checks"]["schema"])


@pytest.mark.parametrize(("service", "running"), SERVICES)
async def test_without_its_tables_it_does_not_start_and_names_the_command(
    url: str, service: str, running: Callable[[str], AbstractAsyncContextManager[Any]]
) -> None:
    with pytest.raises(RefusedError, match=f"tradeflow migrate apply --service {service} --phase pre"):
        async with running(url):
            pass


@pytest.mark.parametrize(("service", "running"), SERVICES)
async def test_it_is_ready_on_additions_of_newer_code_and_not_on_removals(
    url: str, service: str, running: Callable[[str], AbstractAsyncContextManager[Any]]
) -> None:
    await apply(url, service, newer("m9001_more", "pre"))
    async with running(url) as started:
        with_additions = await schema_said(started.http_url)
        await apply(url, service, newer("m9002_less", "post"))
        with_removals = await schema_said(started.http_url)

    assert with_additions == "ok"
    assert "newer than this code bears: m9002_less" in with_removals
    with pytest.raises(RefusedError, match="m9002_less"):
        async with running(url):
            pass
