"""Two gateways that share a Redis let exactly as many calls through as one limit says, however they come."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.public_shop import Person, public_shop
from tests.support.real_parts import RealParts
from tests.support.real_platform import RealPlatform, running_real_platform

pytestmark = [pytest.mark.ci, pytest.mark.timeout(600)]

LIMIT = 200
CALLERS = 64
CALLS = 320

DAY_SECONDS = 24 * 60 * 60
"""One call comes free every seven minutes: none while the test runs."""

FEW_READS = {"name": "reads", "route_class": "read", "per": "user", "limit": LIMIT, "window_seconds": DAY_SECONDS}


@pytest.fixture
def replicated(shared_parts: RealParts, tmp_path: Path) -> Iterator[RealPlatform]:
    settings = {"TRADEFLOW_GATEWAY_RATE_LIMITS": json.dumps([FEW_READS])}
    with running_real_platform(shared_parts, tmp_path / "data", replicas=2, settings=settings) as platform:
        yield platform


async def test_a_limit_is_exact_to_the_call_over_two_replicas_and_each_user_has_its_own(
    replicated: RealPlatform,
) -> None:
    gateways = [replicated.services.replica_url("gateway", number) for number in (1, 2)]
    async with public_shop(replicated.gateway_url, replicated.data) as shop:
        eager, modest = await shop.person(), await shop.person()

        statuses = await call_from_all_sides(gateways, eager)

        assert statuses == {200: LIMIT, 429: CALLS - LIMIT}
        assert (await modest.balance()).available.amount_minor == 0


async def call_from_all_sides(gateways: list[str], person: Person) -> Counter[int]:
    """Read a wallet from many callers at once, who go to the gateways by turns, and count the answers."""
    slots = asyncio.Semaphore(CALLERS)
    headers = {"Authorization": f"Bearer {person.client.access_token}"}
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=60.0, trust_env=False) as http:

        async def call(number: int) -> int:
            async with slots:
                gateway = gateways[number % len(gateways)]
                answer = await http.get(f"{gateway}/api/v1/wallet/balance", params={"currency": "EUR"})
                return answer.status_code

        return Counter(await asyncio.gather(*(call(number) for number in range(CALLS))))
