"""The broker is gone while people order: orders are confirmed, outboxes grow, and nothing is lost.

Services that are started meanwhile do the same.
"""

import asyncio
from pathlib import Path

import pytest

from tests.support.aftermath import backlog_of, unpublished_of
from tests.support.fault_plan import SERVICES
from tests.support.faulty_platform import FaultyPlatform, faulty_platform
from tests.support.persistent_buyers import PersistentBuyers, impatient_http, persistent_buyers
from tests.support.public_shop import public_shop, until
from tests.support.real_parts import REAL_PARTS, RealParts

pytestmark = REAL_PARTS

BUYERS = 3

DRAINED_SECONDS_MAX = 150.0
"""The stated time, after the broker is back, within which all orders are settled; usually a few seconds."""


@pytest.mark.timeout(600)
async def test_orders_are_confirmed_while_the_broker_is_gone_and_settled_when_it_is_back(
    breakable_parts: RealParts, tmp_path: Path
) -> None:
    await _assert_survives_without_broker(breakable_parts, tmp_path / "data", seconds=10)


@pytest.mark.soak
async def test_orders_are_confirmed_while_the_broker_is_gone_for_long_and_settled_when_it_is_back(
    breakable_parts: RealParts, tmp_path: Path
) -> None:
    await _assert_survives_without_broker(breakable_parts, tmp_path / "data", seconds=60)


async def _assert_survives_without_broker(parts: RealParts, data: Path, *, seconds: float) -> None:
    with faulty_platform(parts, data) as platform:
        async with public_shop(platform.real.gateway_url, data) as shop, impatient_http() as http:
            load = await persistent_buyers(shop, http, buyers=BUYERS, seed=0)
            async with asyncio.TaskGroup() as group:
                group.create_task(load.run())
                await load.until_told(BUYERS)
                await asyncio.to_thread(parts.kafka.kill)
                await _start_services_again(platform)
                confirmed = await _confirmed_meanwhile(platform, load, seconds)
                unpublished = await asyncio.to_thread(unpublished_of, platform.real.urls)
                load.close()
            await asyncio.to_thread(parts.kafka.start)

            assert confirmed > 0, "nobody's order was confirmed while the broker was gone"
            assert sum(unpublished.values()) >= confirmed
            await until(
                lambda: asyncio.to_thread(backlog_of, platform.real.urls),
                lambda backlog: backlog.is_empty,
                "the end of what waits",
                seconds_max=DRAINED_SECONDS_MAX,
            )
            await load.assert_done_as_told(seconds_max=DRAINED_SECONDS_MAX)
            assert await load.ask_all_again() == []
        await platform.real.assert_invariants_hold()


async def _start_services_again(platform: FaultyPlatform) -> None:
    processes = [platform.real.replica(service) for service in SERVICES]
    for process in processes:
        process.kill()
    await asyncio.gather(*[asyncio.to_thread(process.start) for process in processes])


async def _confirmed_meanwhile(platform: FaultyPlatform, load: PersistentBuyers, seconds: float) -> int:
    """Let time pass without the broker, and count who was told that an order is confirmed."""
    before = len(load.told)
    await asyncio.sleep(seconds)
    assert not platform.servers["kafka"].is_running()
    return sum(told.state == "CONFIRMED" and told.what == "place automatic" for told in load.told[before:])
