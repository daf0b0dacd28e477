"""The three services as processes of their own, with ledger and orders on MariaDB; test_platform*.py have MySQL."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.embedded.redis_server import serving_redis
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema
from tests.support.public_load import a_load, stop_load
from tests.support.public_shop import eur, public_shop, until_state
from tests.support.service_processes import service_processes


@pytest.fixture
def databases(mariadb_server: Server) -> Iterator[dict[str, str]]:
    """Two empty schemas: services share no database."""
    with fresh_schema(mariadb_server.url) as ledger, fresh_schema(mariadb_server.url) as orders:
        yield {"ledger": ledger, "orders": orders}


@pytest.mark.timeout(240)
async def test_an_order_is_settled_and_the_book_verified(tmp_path: Path, databases: dict[str, str]) -> None:
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url, databases) as processes:
            await processes.start()
            async with public_shop(processes.gateway_url, processes.data) as shop:
                buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
                sku = await shop.product(seller, price_minor=1_000)
                await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED")

                assert (await buyer.balance()).posted == eur(3_000)
            await processes.assert_invariants_hold()


@pytest.mark.timeout(300)
async def test_services_killed_under_load_lose_nothing(tmp_path: Path, databases: dict[str, str]) -> None:
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url, databases) as processes:
            await processes.start()
            async with public_shop(processes.gateway_url, processes.data) as shop:
                load = await a_load(shop, buyers=4)
                ordering = asyncio.create_task(load.run())
                for number, victim in enumerate(("ledger", "orders", "ledger"), start=1):
                    await load.until_answered(10 * number)
                    await asyncio.to_thread(processes.by_name[victim].kill)
                    await asyncio.to_thread(processes.by_name[victim].start)
                await load.until_answered(len(load.answered) + 5)
                await stop_load(ordering)

                await load.assert_every_answer_was_kept()
            await processes.assert_invariants_hold()
