"""The three services as processes of their own: started in any order, and killed one by one under load."""

import asyncio
import itertools
import random
from pathlib import Path

import pytest

from services.embedded.redis_server import serving_redis
from tests.support.platform import assert_invariants_hold
from tests.support.public_load import a_load, stop_load
from tests.support.public_shop import eur, public_shop, until_state
from tests.support.service_processes import SERVICES, service_processes


@pytest.mark.parametrize("order", [SERVICES, SERVICES[::-1]], ids="-".join)
async def test_services_start_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url) as processes:
            for name in order:
                await asyncio.to_thread(processes.by_name[name].start)

            async with public_shop(processes.gateway_url, processes.data) as shop:
                buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
                sku = await shop.product(seller, price_minor=1_000)
                await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED")

                assert (await buyer.balance()).posted == eur(3_000)
    await assert_invariants_hold(tmp_path / "data")


@pytest.mark.ci
@pytest.mark.parametrize("victim", SERVICES)
async def test_a_service_killed_under_load_loses_nothing_and_does_nothing_twice(tmp_path: Path, victim: str) -> None:
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url) as processes:
            await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes.by_name.values()))
            async with public_shop(processes.gateway_url, processes.data) as shop:
                load = await a_load(shop, buyers=4)
                ordering = asyncio.create_task(load.run())
                for kill in (1, 2):
                    await load.until_answered(15 * kill)
                    await asyncio.to_thread(processes.by_name[victim].kill)
                    await asyncio.to_thread(processes.by_name[victim].start)
                await load.until_answered(len(load.answered) + 5)
                await stop_load(ordering)

                await load.assert_every_answer_was_kept()
    await assert_invariants_hold(tmp_path / "data")


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
async def test_services_killed_at_random_for_a_minute_lose_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed repeats the run
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url) as processes:
            await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes.by_name.values()))
            async with public_shop(processes.gateway_url, processes.data) as shop:
                load = await a_load(shop, buyers=6)
                ordering = asyncio.create_task(load.run())
                for _ in itertools.repeat(None, 20):
                    victim = processes.by_name[chance.choice(SERVICES)]
                    await load.until_answered(len(load.answered) + chance.randrange(1, 40))
                    await asyncio.to_thread(victim.kill)
                    await asyncio.to_thread(victim.start)
                await stop_load(ordering)

                await load.assert_every_answer_was_kept()
    await assert_invariants_hold(tmp_path / "data")
