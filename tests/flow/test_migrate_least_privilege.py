"""An order's whole life, and all that keeps house after it, by users with the rights of their role and no other."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from services.embedded.redis_server import serving_redis
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import running as running_ledger
from services.orders.settings import OrdersSettings
from services.orders.wiring import running as running_orders
from services.runtime.clock import SystemClock
from services.runtime.database.grants import Role
from services.runtime.database_opening import open_database
from services.runtime.errors import RejectedError
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema
from tests.support.database_users import user_with_role
from tests.support.platform import run_command
from tests.support.public_shop import PASSWORD, PublicShop, public_shop, until, until_state
from tests.support.service_processes import service_processes

SERVICES = ("ledger", "orders")

NOT_ON_START = {f"TRADEFLOW_{service.upper()}_MIGRATE_ON_START": "false" for service in SERVICES}
"""As where `tradeflow migrate` does it."""

NOBODY_THERE = "http://127.0.0.1:9/nobody"
"""What only doors ask, which nobody knocks at."""

PATIENCE_SECONDS = 240.0
"""For one call of `tradeflow`: a second or two, on a machine with nothing else to do."""

LONGEST_PAUSE_SECONDS = 0.5
"""Chores come round at once."""


class YearsLater(SystemClock):
    """When all that is kept for a while may go."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=800)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, LONGEST_PAUSE_SECONDS))


@dataclass
class Databases:
    """Two schemas on one server, and their users."""

    administrator: Mapping[str, str]
    users: ExitStack

    def urls(self, role: Role) -> dict[str, str]:
        """Make a user with a role in each schema."""
        return {
            service: self.users.enter_context(user_with_role(self.administrator[service], service, role))
            for service in SERVICES
        }


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    server: Server = request.getfixturevalue(f"{request.param}_server")
    with fresh_schema(server.url) as ledger, fresh_schema(server.url) as orders, ExitStack() as users:
        yield Databases({"ledger": ledger, "orders": orders}, users)


def migrate_as(urls: Mapping[str, str]) -> None:
    """Call `tradeflow migrate apply` for both services, with the URL where nobody sees it."""
    for service, url in urls.items():
        environment = {f"TRADEFLOW_{service.upper()}_DATABASE_URL": url}
        ended = run_command(
            "migrate", "apply", "--service", service, environment=environment, seconds_max=PATIENCE_SECONDS
        )
        assert ended.returncode == 0, ended.stderr


@pytest.mark.timeout(600)
async def test_an_orders_whole_life_needs_no_other_rights(tmp_path: Path, databases: Databases) -> None:
    migrate_as(databases.urls("migrator"))
    urls = databases.urls("runtime")
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url, urls, NOT_ON_START) as processes:
            await processes.start()
            async with public_shop(processes.gateway_url, processes.data) as shop:
                await live(shop)
                await until_signed(urls["ledger"])
            async with httpx.AsyncClient(trust_env=False) as http:
                for service in SERVICES:
                    ready = await http.get(f"{processes.http_url(service)}/readyz")
                    assert ready.status_code == 200, ready.text
        complaints = "".join(process.errors_file.read_text() for process in processes.by_name.values())
    await keep_house(tmp_path, urls)
    verified = run_command("verify", "--database", databases.urls("reader")["ledger"], seconds_max=PATIENCE_SECONDS)

    assert "denied" not in complaints
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def live(shop: PublicShop) -> None:
    """Order, settle, refund, cancel, be refused, confirm by hand, sign out."""
    buyer, seller = await shop.person(funds_minor=20_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000, stock=50)
    settled = await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED")
    await seller.client.refund(settled.order_id, {1: 1})
    await until_state(buyer, settled, "PARTIALLY_REFUNDED")
    by_hand = await buyer.client.place_order({sku: 1}, capture="manual")
    await seller.client.confirm((await until_state(buyer, by_hand, "CONFIRMED", "RESERVED")).order_id)
    await until_state(buyer, by_hand, "SETTLED")
    called_off = await buyer.client.place_order({sku: 1}, capture="manual")
    await buyer.client.cancel(called_off.order_id)
    await until_state(buyer, called_off, "CANCELLED")
    with pytest.raises(RejectedError):
        await buyer.client.place_order({sku: 40})
    assert (await buyer.client.statement("EUR")).items
    await buyer.client.login(buyer.email, PASSWORD)
    await buyer.client.logout()


async def count(url: str, table: str) -> int:
    database = open_database(url)
    try:
        async with database.snapshot() as connection:
            ((rows,),) = await connection.fetch(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 - a test's own word
    finally:
        await database.close()
    return int(rows)


async def until_signed(url: str) -> None:
    """Wait for the notary's first look after the first record."""
    await until(
        lambda: count(url, "signed_heads"), lambda rows: rows > 0, "a signed head", seconds_max=PATIENCE_SECONDS
    )


async def keep_house(folder: Path, urls: Mapping[str, str]) -> None:
    """Let years pass, and see everything go that is kept for a while only."""
    broker_url = f"sqlite:///{folder}/later.db"
    ledger = LedgerSettings(
        database_url=urls["ledger"],
        broker_url=broker_url,
        issuer=NOBODY_THERE,
        jwks_url=NOBODY_THERE,
        http_port=0,
        grpc_port=0,
        migrate_on_start=False,
    )
    orders = OrdersSettings(
        database_url=urls["orders"],
        broker_url=broker_url,
        issuer=NOBODY_THERE,
        jwks_url=NOBODY_THERE,
        http_port=0,
        grpc_port=0,
        migrate_on_start=False,
        ledger_grpc_target="127.0.0.1:9",
        token_url=NOBODY_THERE,
        client_secret=SecretStr("nobody asks"),
    )
    async with running_ledger(ledger, clock=YearsLater()):
        await until_empty(urls["ledger"], ("idempotency_keys", "hold_expiries", "outbox"))
    async with running_orders(orders, clock=YearsLater()):
        await until_empty(
            urls["orders"],
            ("idempotency_keys", "inbox", "sessions", "refresh_tokens", "revoked_access_tokens", "outbox"),
        )


async def until_empty(url: str, tables: tuple[str, ...]) -> None:
    for table in tables:
        await until(partial(count, url, table), is_none, f"an empty {table}", seconds_max=PATIENCE_SECONDS)


def is_none(rows: int) -> bool:
    return rows == 0
