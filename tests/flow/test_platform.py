"""The embedded platform: it keeps what it answered, however it ends, and shares its folder with nobody."""

import asyncio
import signal
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.embedded.client import TradeFlowClient
from services.embedded.data_folder import DataFolderInUseError
from services.embedded.options import on_free_ports
from services.embedded.platform import platform
from services.embedded.public_api import Order
from services.runtime.errors import TradeFlowError
from tests.support.platform import (
    PlatformProcess,
    assert_invariants_hold,
    platform_here,
    platform_process,
    run_command,
)
from tests.support.public_shop import PASSWORD, Person, PublicShop, eur, next_events, public_shop, until, until_state

FINAL_STATES = ("SETTLED", "PARTIALLY_REFUNDED", "REFUNDED", "REJECTED", "CANCELLED", "EXPIRED", "SETTLEMENT_FAILED")
"""Nothing more happens to these by itself."""

IMPATIENT = {"TRADEFLOW_ORDERS_PATIENCE_SECONDS": "1", "TRADEFLOW_ORDERS_ORDER_LIFETIME_SECONDS": "8"}
"""What a crash left behind is finished, or given up, within seconds."""

FUNDS_MINOR = 1_000_000
"""More than anybody orders for."""

PRICE_MINOR = 10
"""Of what is ordered under load."""


async def test_a_restart_keeps_people_products_orders_money_and_events(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with platform_here(data) as running, public_shop(running.gateway_url, data) as shop:
        buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000, stock=5)
        order = await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED")
        events, product = await next_events(buyer, 4), await shop.operator.get_product(sku)

    async with platform_here(data) as running, TradeFlowClient(running.gateway_url) as client:
        await client.login(buyer.email, PASSWORD)
        again = Person(email=buyer.email, user_id=buyer.user_id, client=client)

        assert await client.get_order(order.order_id) == order
        assert (await again.balance()).posted == eur(3_000)
        assert await client.get_product(sku) == product
        assert await next_events(again, 4) == events
        assert (await client.place_order({sku: 1})).state == "CONFIRMED"

    await assert_invariants_hold(data)


async def test_two_platforms_never_share_a_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with platform_process(data) as process:
        second = run_command("up", "--data", str(data), "--port", "0")
        with pytest.raises(DataFolderInUseError) as refused:
            async with platform(on_free_ports(data)):
                pass

        assert second.returncode == 2
        assert f"process id {process.process_id}" in second.stderr
        assert refused.value.details == {"process_id": str(process.process_id)}
        async with public_shop(process.gateway_url, data) as shop:
            assert (await shop.operator.list_products()).items == []


def test_a_killed_platform_locks_nobody_out(tmp_path: Path) -> None:
    with platform_process(tmp_path / "data") as process:
        process.kill()

        process.start()

        assert process.stop() == 0


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_the_platform_stops_cleanly_within_seconds(tmp_path: Path, signal_number: signal.Signals) -> None:
    with platform_process(tmp_path / "data") as process:
        asked_at = time.monotonic()

        exit_code = process.stop(signal_number)

        assert exit_code == 0, process.errors_file.read_text()
        assert time.monotonic() - asked_at < 8
        assert process.errors_file.read_text() == ""


def test_only_its_owner_can_read_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with platform_process(data) as process:
        secrets = process.folder.secrets_file
        keys = list(process.folder.keys.iterdir())

        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
        assert [stat.S_IMODE(key.stat().st_mode) for key in keys] == [0o600]


@dataclass
class Load:
    """Buyers that order without pause, and what they were told."""

    shop: PublicShop
    buyers: list[Person]
    sku: str
    answered: list[Order] = field(default_factory=list)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for buyer in self.buyers:
                group.create_task(self._order_on(buyer))

    async def _order_on(self, buyer: Person) -> None:
        """Order until it is cancelled; what was not answered is nobody's promise."""
        impatient = TradeFlowClient(self.shop.root.base_url, attempts_max=1)
        try:
            await impatient.login(buyer.email, PASSWORD)
            while True:
                with suppress(TradeFlowError):
                    self.answered.append(await impatient.place_order({self.sku: 1}))
                await asyncio.sleep(0)
        finally:
            await impatient.close()


async def a_load(shop: PublicShop, *, buyers: int) -> Load:
    seller = await shop.person("merchant")
    sku = await shop.product(seller, price_minor=PRICE_MINOR, stock=100_000)
    people = [await shop.person(funds_minor=FUNDS_MINOR) for _ in range(buyers)]
    return Load(shop=shop, buyers=people, sku=sku)


async def test_a_platform_killed_under_load_keeps_every_answered_order_and_finishes_all(tmp_path: Path) -> None:
    with platform_process(tmp_path / "data", IMPATIENT) as process:
        async with public_shop(process.gateway_url, process.data) as shop:
            load = await a_load(shop, buyers=4)
            for kills in (1, 2):
                await _kill_under(load, process, answered_before=15 * kills)
                process.start()

            ended = [order for buyer in load.buyers for order in await _ended_orders(buyer)]
            spent_minor = [FUNDS_MINOR - (await buyer.balance()).available.amount_minor for buyer in load.buyers]

        assert process.stop() == 0
    settled = {order.order_id for order in ended if order.state == "SETTLED"}
    assert {order.order_id for order in load.answered} <= settled
    assert {order.state for order in ended} <= {"SETTLED", "EXPIRED"}
    assert sum(spent_minor) == PRICE_MINOR * len(settled)
    await assert_invariants_hold(tmp_path / "data")


async def _kill_under(load: Load, process: PlatformProcess, *, answered_before: int) -> None:
    ordering = asyncio.create_task(load.run())
    try:
        await until(lambda: _count(load), lambda seen: seen >= answered_before, "orders")
        process.kill()
    finally:
        ordering.cancel()
        with suppress(asyncio.CancelledError):
            await ordering


async def _count(load: Load) -> int:
    return len(load.answered)


async def _ended_orders(buyer: Person) -> list[Order]:
    """Wait until none of the buyer's orders is in the middle."""
    return await until(lambda: _all_orders(buyer), _none_in_the_middle, "the end of all orders")


async def _all_orders(buyer: Person) -> list[Order]:
    page = await buyer.client.list_orders(limit=200)
    orders = list(page.items)
    while page.next_cursor is not None:
        page = await buyer.client.list_orders(limit=200, cursor=page.next_cursor)
        orders += page.items
    return orders


def _none_in_the_middle(orders: list[Order]) -> bool:
    return all(order.state in FINAL_STATES for order in orders)
