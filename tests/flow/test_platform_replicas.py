"""Two replicas of every service on real servers: one of each is killed in the middle, and nobody loses anything."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from services.embedded.client import TradeFlowClient
from services.embedded.public_api import WalletEvent
from tests.support.public_load import a_load, stop_load
from tests.support.public_shop import PASSWORD, Person, eur, public_shop, until, until_state
from tests.support.real_parts import RealParts
from tests.support.real_platform import RealPlatform, running_real_platform
from tests.support.service_processes import IMPATIENT, SERVICES

pytestmark = pytest.mark.timeout(600)  # six processes start on a busy machine


@pytest.fixture
def replicated(shared_parts: RealParts, tmp_path: Path) -> Iterator[RealPlatform]:
    with running_real_platform(shared_parts, tmp_path / "data", replicas=2, settings=IMPATIENT) as platform:
        yield platform


@asynccontextmanager
async def on_replica(person: Person, platform: RealPlatform, number: int) -> AsyncIterator[Person]:
    """Let somebody who signed up speak to one gateway alone."""
    async with TradeFlowClient(platform.services.replica_url("gateway", number)) as client:
        await client.login(person.email, PASSWORD)
        yield Person(email=person.email, user_id=person.user_id, client=client)


async def test_an_order_at_one_gateway_is_seen_live_at_the_other(replicated: RealPlatform) -> None:
    async with public_shop(replicated.gateway_url, replicated.data) as shop:
        buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000)
        async with on_replica(buyer, replicated, 1) as at_first, on_replica(seller, replicated, 2) as at_second:
            heard: list[WalletEvent] = []
            listening = asyncio.create_task(listen(at_second, heard))
            await until_state(at_first, await at_first.client.place_order({sku: 2}), "SETTLED")

            await until(lambda: count(heard), lambda seen: seen >= 2, "the seller's events")
            await stop_load(listening)

        assert [event.kind for event in heard] == ["account_opened", "sale_credited"]
        assert (await buyer.balance()).posted == eur(3_000)
    await replicated.assert_invariants_hold()


async def test_a_token_that_one_gateway_revoked_opens_nothing_at_the_other(replicated: RealPlatform) -> None:
    async with public_shop(replicated.gateway_url, replicated.data) as shop:
        buyer = await shop.person()
        async with on_replica(buyer, replicated, 1) as at_first:
            stolen = {"Authorization": f"Bearer {at_first.client.access_token}"}
            await at_first.client.logout()

    url = f"{replicated.services.replica_url('gateway', 2)}/api/v1/wallet/balance"
    async with httpx.AsyncClient() as http:
        answer = await http.get(url, params={"currency": "EUR"}, headers=stolen)
    assert (answer.status_code, answer.json()["reason"]) == (401, "token_revoked")


async def test_one_replica_of_each_killed_in_the_middle_loses_nothing(replicated: RealPlatform) -> None:
    async with public_shop(replicated.gateway_url, replicated.data) as shop:
        load = await a_load(shop, buyers=4)
        async with on_replica(load.seller, replicated, 2) as at_second:
            heard: list[WalletEvent] = []
            listening = asyncio.create_task(listen(at_second, heard))
            ordering = asyncio.create_task(load.run())
            for number, victim in enumerate(SERVICES, start=1):
                await load.until_answered(15 * number)
                await asyncio.to_thread(replicated.replica(victim).kill)
            await load.until_answered(len(load.answered) + 15)
            for victim in SERVICES:
                await asyncio.to_thread(replicated.replica(victim).start)
            await load.until_answered(len(load.answered) + 5)
            await stop_load(ordering)

            await load.assert_every_answer_was_kept()
            settled = {str(order.order_id) for order in await load.ended() if order.state == "SETTLED"}
            await until(lambda: count(heard), lambda seen: seen >= len(settled) + 1, "all events")
            await stop_load(listening)
    assert [event.sequence for event in heard] == list(range(1, len(settled) + 2))
    assert {event.fact["order_id"] for event in heard[1:]} == settled
    await replicated.assert_invariants_hold()


async def listen(person: Person, heard: list[WalletEvent]) -> None:
    async for event in person.client.events(last_sequence=0):
        heard.append(event)  # noqa: PERF401 - the others look on while it grows


async def count(heard: list[WalletEvent]) -> int:
    return len(heard)
