"""A ledger that is gone, hangs, or loses one of its replicas, as orders and its buyers see it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from services.embedded.client import TradeFlowClient
from services.embedded.redis_server import serving_redis
from services.runtime.errors import TradeFlowError, UnavailableError
from services.runtime.ids import new_id
from tests.support.platform import assert_invariants_hold
from tests.support.public_load import a_load, stop_load
from tests.support.public_shop import PASSWORD, Person, PublicShop, eur, public_shop, until, until_state
from tests.support.scraped_metrics import scraped
from tests.support.service_processes import ServiceProcesses, service_processes

OUTAGE_SECONDS = 10.0
"""Longer than the circuit stays open, several times."""

LONG_OUTAGE_SECONDS = 30.0
"""Longer than a hold lives: see `SHORT_LIVED`."""

QUICK_CIRCUIT = {"TRADEFLOW_ORDERS_LEDGER_DEADLINE_SECONDS": "2", "TRADEFLOW_ORDERS_LEDGER_OPEN_SECONDS": "1"}
"""It opens and tries again within seconds."""

PATIENT_ORDERS = {**QUICK_CIRCUIT, "TRADEFLOW_ORDERS_ORDER_LIFETIME_SECONDS": "30"}
"""An order that is placed at the beginning of the outage outlives it, but on a machine that needs long for a start."""

PAUSE_SECONDS = 0.25
"""Between two attempts of a buyer: those before the circuit opens leave orders behind that have to be finished."""

SHORT_LIVED = {**QUICK_CIRCUIT, "TRADEFLOW_ORDERS_ORDER_LIFETIME_SECONDS": "5"}
"""An order ends during the outage, and so does its hold, which lives four times as long."""

FEW_PLACES = {
    "TRADEFLOW_GATEWAY_UPSTREAM_SECONDS_MAX": "8",
    "TRADEFLOW_ORDERS_LEDGER_WAITING_MAX": "2",
    "TRADEFLOW_ORDERS_LEDGER_FAILURES_MAX": "1",
    "TRADEFLOW_ORDERS_LEDGER_DEADLINE_SECONDS": "12",
    "TRADEFLOW_ORDERS_LEDGER_OPEN_SECONDS": "1",
}
"""Two requests fill the bulkhead, one missed deadline opens the circuit, and the gateway waits less than orders would:
if orders didn't know, callers would hear of the gateway's timeout."""

OPEN, CLOSED = 2, 0
"""As the gauge shows them."""


@asynccontextmanager
async def a_shop(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[tuple[ServiceProcesses, PublicShop]]:
    """Run the services with a shop, and check the books when it is closed."""
    async with serving_redis() as redis_url:
        with service_processes(folder / "data", redis_url, settings=settings) as processes:
            await processes.start()
            async with public_shop(processes.gateway_url, processes.data) as shop:
                yield processes, shop
    await assert_invariants_hold(folder / "data")


@asynccontextmanager
async def impatient(processes: ServiceProcesses, buyer: Person) -> AsyncIterator[TradeFlowClient]:
    """Sign a buyer in who takes the first answer."""
    async with TradeFlowClient(processes.gateway_url, attempts_max=1) as client:
        await client.login(buyer.email, PASSWORD)
        yield client


async def refusal_of(client: TradeFlowClient, sku: str, key: str | None = None) -> UnavailableError:
    """Place an order, and say how it was put off."""
    with pytest.raises(UnavailableError) as refused:
        await client.place_order({sku: 1}, idempotency_key=key)
    return refused.value


async def until_circuit(processes: ServiceProcesses, state: int) -> None:
    """Wait until the circuit of orders shows a state."""

    async def look() -> float:
        return await scraped(processes.http_url("orders"), "tradeflow_circuit_state", target="ledger")

    await until(look, lambda seen: seen == state, f"the circuit's state {state}", seconds_max=60)


async def pending_orders(client: TradeFlowClient) -> list[UUID]:
    return [order.order_id for order in (await client.list_orders(state="PENDING")).items]


async def times_opened(processes: ServiceProcesses) -> float:
    return await scraped(
        processes.http_url("orders"), "tradeflow_circuit_transitions_total", target="ledger", state="opened"
    )


@pytest.mark.ci
@pytest.mark.timeout(420)  # two minutes on a machine with ten times the work that it can do
async def test_while_the_ledger_is_down_orders_are_put_off_politely_and_after_it_the_backlog_drains(
    tmp_path: Path,
) -> None:
    async with a_shop(tmp_path, PATIENT_ORDERS) as (processes, shop):
        load = await a_load(shop, buyers=3, pause_seconds=PAUSE_SECONDS)
        ordering = asyncio.create_task(load.run())
        await load.until_answered(10)
        buyer, key = await shop.person(funds_minor=5_000), str(new_id())
        ledger = processes.by_name["ledger"]
        async with impatient(processes, buyer) as client:
            down_until = time.monotonic() + OUTAGE_SECONDS
            ledger.pause()
            asking = asyncio.create_task(refusal_of(client, load.sku, key))
            begun = await until(lambda: pending_orders(client), lambda orders: len(orders) == 1, "the order is begun")
            await asyncio.to_thread(ledger.kill)
            await asking
            await until_circuit(processes, OPEN)
            while time.monotonic() < down_until:
                assert (await refusal_of(client, load.sku)).retry_after_seconds >= 1
                await client.list_orders(limit=1)
                await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.to_thread(ledger.start)
            await until_circuit(processes, CLOSED)

            finished = await buyer.client.place_order({load.sku: 1}, idempotency_key=key)
            assert [finished.order_id] == begun
            ended = await until_state(buyer, finished, "SETTLED", "EXPIRED")
            assert ended.state == "SETTLED" or finished.state == "EXPIRED"
        await load.until_answered(len(load.answered) + 10)
        await stop_load(ordering)
        assert await times_opened(processes) >= 1

        await load.assert_every_answer_was_kept()


@pytest.mark.ci
@pytest.mark.timeout(180)  # a quarter of a minute alone
async def test_a_ledger_that_hangs_takes_a_few_places_and_no_more(tmp_path: Path) -> None:
    async with a_shop(tmp_path, FEW_PLACES) as (processes, shop):
        buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000)
        await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")
        ledger, orders_url = processes.by_name["ledger"], processes.http_url("orders")

        async def places_taken() -> float:
            return await scraped(orders_url, "tradeflow_bulkhead_taken", target="ledger")

        async with impatient(processes, buyer) as client:
            ledger.pause()
            try:
                waiting = [asyncio.create_task(refusal_of(client, sku)) for _ in range(2)]
                await until(places_taken, lambda taken: taken == 2, "two who wait")
                assert (await refusal_of(client, sku)).reason == "ledger_busy"
                assert len((await client.list_orders()).items) == 4
                assert {refused.reason for refused in await asyncio.gather(*waiting)} == {"deadline_exceeded"}
                await until_circuit(processes, OPEN)
                assert (await refusal_of(client, sku)).reason == "ledger_unavailable"
            finally:
                ledger.resume()
            await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")
            await until_circuit(processes, CLOSED)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_an_outage_longer_than_holds_live_costs_nobody_money(tmp_path: Path) -> None:
    async with a_shop(tmp_path, SHORT_LIVED) as (processes, shop):
        load = await a_load(shop, buyers=3, pause_seconds=PAUSE_SECONDS)
        buyer = await shop.person(funds_minor=5_000)
        ordering = asyncio.create_task(load.run())
        await load.until_answered(10)
        reserved = await buyer.client.place_order({load.sku: 1}, capture="manual")
        await asyncio.to_thread(processes.by_name["ledger"].kill)
        down_until = time.monotonic() + LONG_OUTAGE_SECONDS
        async with impatient(processes, buyer) as client:
            while time.monotonic() < down_until:
                with pytest.raises(TradeFlowError):
                    await client.place_order({load.sku: 1})
                await asyncio.sleep(PAUSE_SECONDS)
        await asyncio.to_thread(processes.by_name["ledger"].start)

        await until(
            lambda: buyer.client.get_order(reserved.order_id),
            lambda order: order.state == "EXPIRED",
            "the end of the order",
            seconds_max=150,
        )
        assert (await buyer.balance()).available == eur(5_000)
        await load.until_answered(len(load.answered) + 10)
        await stop_load(ordering)
        await load.assert_every_answer_was_kept()
