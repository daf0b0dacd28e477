"""Orders settle over a registry's wire format, and wait, whole, for a schema that nobody registered yet."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.embedded.options import Platform
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.registry.wire_format import MAGIC_BYTE
from tests.support.fake_registry import FakeRegistry, fake_registry
from tests.support.platform import assert_invariants_hold, platform_here, run_command
from tests.support.public_shop import eur, public_shop, until_state
from tests.support.waiting import eventually

pytestmark = [pytest.mark.ci, pytest.mark.timeout(180)]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        for service in ("LEDGER", "ORDERS"):
            monkeypatch.setenv(f"TRADEFLOW_{service}_SCHEMA_REGISTRY_URL", registry.url)
        yield registry


async def readiness_of(url: str) -> dict[str, str]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        checks: dict[str, str] = (await http.get(f"{url}/readyz")).json()["checks"]
        return checks


async def first_bytes(running: Platform) -> set[int]:
    """Read with what byte each event begins."""
    broker = SqliteBroker(running.folder.broker_file)
    consumer = await broker.replaying_consumer(topics=["order-events", "wallet-events"])
    messages = await consumer.poll(messages_max=1_000, timeout_seconds=5)
    await broker.close()
    return {message.value[0] for message in messages}


async def test_an_order_waits_for_its_schema_and_settles_once_it_is_registered(
    tmp_path: Path, registry: FakeRegistry
) -> None:
    data = tmp_path / "data"
    async with platform_here(data) as running, public_shop(running.gateway_url, data) as shop:
        buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000, stock=5)
        order = await buyer.client.place_order({sku: 2})
        unready = await readiness_of(running.orders_url)
        assert "order-events-value" in unready["schema_registry"]
        assert "tradeflow schemas register" in unready["schema_registry"]
        assert (await buyer.client.get_order(order.order_id)).state == "CONFIRMED"

        registered = await asyncio.to_thread(run_command, "schemas", "register", "--registry", registry.url)

        assert registered.returncode == 0, registered.stderr
        settled = await until_state(buyer, order, "SETTLED")
        assert settled.order_id == order.order_id
        await eventually(lambda: registry.asked.count("POST /subjects/wallet-events-value") > 0)
        assert (await readiness_of(running.orders_url))["schema_registry"] == "ok"
        assert (await readiness_of(running.ledger_url))["schema_registry"] == "ok"
        assert (await buyer.balance()).posted == eur(3_000)
        assert await first_bytes(running) == {MAGIC_BYTE}

        registry.stop()
        again = await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")
        assert again.state == "SETTLED"

    await assert_invariants_hold(data)


async def test_events_of_before_the_registry_are_read_beside_those_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    async with platform_here(data) as running, public_shop(running.gateway_url, data) as shop:
        buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000, stock=5)
        await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")
    with fake_registry() as registry:
        for service in ("LEDGER", "ORDERS"):
            monkeypatch.setenv(f"TRADEFLOW_{service}_SCHEMA_REGISTRY_URL", registry.url)
        run_command("schemas", "register", "--registry", registry.url)
        async with platform_here(data) as running, public_shop(running.gateway_url, data) as shop:
            buyer = await shop.person(funds_minor=5_000)
            await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")

            beginnings = await first_bytes(running)

    assert MAGIC_BYTE in beginnings
    assert beginnings - {MAGIC_BYTE}
    await assert_invariants_hold(data)
