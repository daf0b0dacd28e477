"""Orders as a process of its own: started, stopped, killed in the middle of work, started again."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from services.ledger.settings import LedgerSettings
from services.ledger.wiring import running as running_ledger
from tests.support.issuer import Issuer, running_issuer

ORDERS = 12


def environment(**settings: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("TRADEFLOW_")},
        **{f"TRADEFLOW_ORDERS_{name.upper()}": value for name, value in settings.items()},
    }


async def start(settings: Mapping[str, str]) -> tuple[Process, str]:
    """Start the process and return it with its URL, once it says where it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.orders", env=environment(**settings), stdout=PIPE
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
    return process, next(word for word in line.split() if word.startswith("http://"))


@asynccontextmanager
async def surroundings(folder: Path) -> AsyncIterator[tuple[Issuer, str, dict[str, str]]]:
    """Run everything but orders; yield the issuer, the ledger's URL and the settings of orders."""
    broker_url = f"sqlite:///{folder}/broker.db"
    async with running_issuer() as issuer:
        ledger_settings = LedgerSettings(
            database_url=f"sqlite:///{folder}/ledger.db",
            broker_url=broker_url,
            issuer=issuer.issuer,
            jwks_url=issuer.jwks_url,
            http_port=0,
            grpc_port=0,
        )
        async with running_ledger(ledger_settings) as ledger:
            yield (
                issuer,
                ledger.http_url,
                {
                    "database_url": f"sqlite:///{folder}/orders.db",
                    "broker_url": broker_url,
                    "issuer": issuer.issuer,
                    "jwks_url": issuer.jwks_url,
                    "ledger_grpc_target": ledger.grpc_target,
                    "token_url": issuer.token_url,
                    "client_secret": "orders' own secret",
                    "http_port": "0",
                    "grpc_port": "0",
                    "request_lease_seconds": "0.5",
                    "patience_seconds": "0.5",
                    "finish_every_seconds": "0.1",
                    "log_level": "ERROR",
                },
            )


async def test_killed_in_the_middle_it_goes_on_where_it_was_and_nothing_happens_twice(tmp_path: Path) -> None:
    buyer_id, merchant_id = uuid4(), uuid4()
    async with surroundings(tmp_path) as (issuer, ledger_url, settings), httpx.AsyncClient(trust_env=False) as http:

        async def call(method: str, url: str, body: object = None, *, role: str = "buyer", key: str = "") -> Any:
            user_id = merchant_id if role == "merchant" else buyer_id
            headers = {
                "Authorization": f"Bearer {issuer.user_token(user_id, (role,))}",
                "Idempotency-Key": key or str(uuid4()),
            }
            return (await http.request(method, url, json=body, headers=headers)).json()

        async def place(url: str, number: int) -> Any:
            body = {"lines": [{"sku": "tea", "quantity": 1}]}
            return await call("POST", f"{url}/api/v1/orders", body, key=f"order-{number}")

        deposit = {"amount": {"amount_minor": 100_000, "currency": "EUR"}}
        await call("POST", f"{ledger_url}/api/v1/wallets/{buyer_id}/deposits", deposit, role="treasury")
        tea = {"sku": "tea", "title": "Tea", "price": {"amount_minor": 500, "currency": "EUR"}, "stock": 100}
        process, url = await start(settings)
        await call("POST", f"{url}/api/v1/products", tea, role="merchant")
        placing = [asyncio.create_task(place(url, number)) for number in range(ORDERS)]
        await asyncio.wait(placing, return_when=asyncio.FIRST_COMPLETED)
        process.kill()
        await process.wait()
        await asyncio.gather(*placing, return_exceptions=True)
        process, url = await start(settings)

        orders: list[Any] = []
        settled: list[Any] = []
        async with asyncio.timeout(60):
            while len(settled) < ORDERS:
                for number in range(ORDERS):
                    with suppress(httpx.HTTPError):
                        await place(url, number)
                orders = (await call("GET", f"{url}/api/v1/orders"))["items"]
                settled = [order for order in orders if order["state"] == "SETTLED"]
        balance = await call("GET", f"{ledger_url}/api/v1/wallet/balance?currency=EUR")
        stock = (await call("GET", f"{url}/api/v1/products/tea"))["stock"]
        process.send_signal(signal.SIGTERM)

        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert len(orders) == ORDERS
        assert balance["available"]["amount_minor"] == 100_000 - 500 * ORDERS
        assert stock == 100 - ORDERS


async def test_a_missing_setting_stops_the_start_and_names_itself() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.orders", env=environment(issuer="x"), stderr=PIPE
    )
    _, complaint = await asyncio.wait_for(process.communicate(), 20)

    assert process.returncode == 2
    assert b"TRADEFLOW_ORDERS_DATABASE_URL is missing" in complaint
    assert b"TRADEFLOW_ORDERS_CLIENT_SECRET" in complaint
