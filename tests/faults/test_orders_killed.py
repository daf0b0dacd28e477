"""The orders service is killed (SIGKILL) in the middle of everything, on real servers: a seed says when.

Meanwhile buyers place, confirm, cancel, forget and get refunds, and events settle. Afterwards every order is in a final
state, everybody has what they were told, and `verify` and the comparison with the ledger find nothing.

One seed alone: `.venv/bin/pytest -n 0 tests/faults/test_orders_killed.py -m "not soak" -k "seed-7"`.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import httpx
import pytest

from tests.support.persistent_buyers import PersistentBuyers, impatient_http, persistent_buyers
from tests.support.public_shop import PublicShop, public_shop, until
from tests.support.real_parts import REAL_PARTS, RealParts
from tests.support.real_platform import RealPlatform, running_real_platform
from tests.support.service_processes import IMPATIENT

pytestmark = REAL_PARTS

SEEDS: Final = range(10)
"""In continuous integration."""

SOAK_SEEDS: Final = range(10, 70)
"""Where there is time."""

KILLS: Final = 3
"""Of one seed."""

MOMENT_SECONDS_MAX: Final = 0.8
"""How long a process that is back lives at most before it is killed again: while it finishes what it finds, too."""

ENDED_SECONDS_MAX: Final = 120.0
"""Within which every order has ended, on a machine that is busy; usually after the 8 seconds that an order may wait."""

BUYERS: Final = 4
ANSWERS_BEFORE: Final = 4


@pytest.fixture(scope="module")
def platform(shared_parts: RealParts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPlatform]:
    folder: Path = tmp_path_factory.mktemp("killed")
    with running_real_platform(shared_parts, folder / "data", settings=IMPATIENT) as platform:
        yield platform


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
async def test_every_order_ends_right_whenever_the_process_is_killed(platform: RealPlatform, seed: int) -> None:
    await _assert_survives(platform, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK_SEEDS, ids=lambda seed: f"seed-{seed}")
async def test_every_order_ends_right_at_more_moments(platform: RealPlatform, seed: int) -> None:
    await _assert_survives(platform, seed)


async def _assert_survives(platform: RealPlatform, seed: int) -> None:
    chance = Random(f"killed/{seed}")  # noqa: S311 - chance that can be repeated is the point
    async with public_shop(platform.gateway_url, platform.data) as shop, impatient_http() as http:
        load = await persistent_buyers(shop, http, buyers=BUYERS, seed=seed)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            await load.until_told(ANSWERS_BEFORE)
            await _kill_again_and_again(platform, chance)
            await load.until_told(len(load.told) + ANSWERS_BEFORE)
            load.close()
        await _assert_whole(platform, shop, load)


async def _kill_again_and_again(platform: RealPlatform, chance: Random) -> None:
    orders = platform.replica("orders")
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0, MOMENT_SECONDS_MAX))
        await asyncio.to_thread(orders.kill)
        await asyncio.to_thread(orders.start)


async def _assert_whole(platform: RealPlatform, shop: PublicShop, load: PersistentBuyers) -> None:
    await load.assert_done_as_told(seconds_max=ENDED_SECONDS_MAX)
    assert await load.ask_all_again() == []
    assert await until(lambda: _open_discrepancies(shop), lambda found: not found, "agreement", seconds_max=60) == []
    await platform.assert_invariants_hold()


async def _open_discrepancies(shop: PublicShop) -> list[object]:
    """Ask the comparison with the ledger what it found and didn't heal."""
    async with httpx.AsyncClient(base_url=shop.root.base_url, trust_env=False, timeout=20) as http:
        headers = {"Authorization": f"Bearer {shop.operator.access_token}"}
        found: list[object] = (await http.get("/api/v1/discrepancies", headers=headers)).json()["items"]
    return found
