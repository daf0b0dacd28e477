"""The three services as processes of their own: started in any order, and killed one by one under load.

On files, and on two databases, Kafka and Redis.
"""

import asyncio
import itertools
import random
from pathlib import Path

import pytest

from tests.support.any_platform import PrepareServices
from tests.support.public_load import a_load, stop_load
from tests.support.public_shop import eur, public_shop, until_state
from tests.support.service_processes import SERVICES


@pytest.mark.parametrize("order", [SERVICES, SERVICES[::-1]], ids="-".join)
async def test_services_start_in_any_order(
    prepare_services: PrepareServices, tmp_path: Path, order: tuple[str, ...]
) -> None:
    with prepare_services(tmp_path / "data") as services:
        for name in order:
            await asyncio.to_thread(services.by_name[name].start)

        async with public_shop(services.gateway_url, services.data) as shop:
            buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
            sku = await shop.product(seller, price_minor=1_000)
            await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED")

            assert (await buyer.balance()).posted == eur(3_000)
        await services.assert_invariants_hold()


@pytest.mark.ci
@pytest.mark.timeout(600)  # half a minute alone, several times that beside others
@pytest.mark.parametrize("victim", SERVICES)
async def test_a_service_killed_under_load_loses_nothing_and_does_nothing_twice(
    prepare_services: PrepareServices, tmp_path: Path, victim: str
) -> None:
    with prepare_services(tmp_path / "data") as services:
        await services.start()
        async with public_shop(services.gateway_url, services.data) as shop:
            load = await a_load(shop, buyers=4)
            ordering = asyncio.create_task(load.run())
            for kill in (1, 2):
                await load.until_answered(15 * kill)
                await asyncio.to_thread(services.by_name[victim].kill)
                await asyncio.to_thread(services.by_name[victim].start)
            await load.until_answered(len(load.answered) + 5)
            await stop_load(ordering)

            await load.assert_every_answer_was_kept()
        await services.assert_invariants_hold()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
async def test_services_killed_at_random_for_a_minute_lose_nothing(
    prepare_services: PrepareServices, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed repeats the run
    with prepare_services(tmp_path / "data") as services:
        await services.start()
        async with public_shop(services.gateway_url, services.data) as shop:
            load = await a_load(shop, buyers=6)
            ordering = asyncio.create_task(load.run())
            for _ in itertools.repeat(None, 20):
                victim = services.by_name[chance.choice(SERVICES)]
                await load.until_answered(len(load.answered) + chance.randrange(1, 40))
                await asyncio.to_thread(victim.kill)
                await asyncio.to_thread(victim.start)
            await stop_load(ordering)

            await load.assert_every_answer_was_kept()
        await services.assert_invariants_hold()
