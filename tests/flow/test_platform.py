"""The embedded platform: it keeps what it answered, however it ends, and shares its folder with nobody."""

import asyncio
import signal
import stat
import time
from pathlib import Path

import pytest

from services.embedded.client import TradeFlowClient
from services.embedded.data_folder import DataFolderInUseError
from services.embedded.options import on_free_ports
from services.embedded.platform import platform
from services.embedded.public_api import WalletEvent
from tests.support.any_platform import RunPlatform
from tests.support.platform import assert_invariants_hold, platform_here, platform_process, run_command
from tests.support.public_load import a_load, stop_load
from tests.support.public_shop import PASSWORD, Person, eur, next_events, public_shop, until, until_state
from tests.support.service_processes import IMPATIENT


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


async def test_a_platform_killed_under_load_keeps_every_answered_order_and_finishes_all(
    run_platform: RunPlatform, tmp_path: Path
) -> None:
    with run_platform(tmp_path / "data", IMPATIENT) as running:
        async with public_shop(running.gateway_url, running.data) as shop:
            load = await a_load(shop, buyers=4)
            for kills in (1, 2):
                ordering = asyncio.create_task(load.run())
                await load.until_answered(15 * kills)
                await asyncio.to_thread(running.kill)
                await stop_load(ordering)
                await asyncio.to_thread(running.start)

            await load.assert_every_answer_was_kept()
        await running.assert_invariants_hold()


async def test_a_listener_gets_every_event_once_across_a_kill(run_platform: RunPlatform, tmp_path: Path) -> None:
    with run_platform(tmp_path / "data", IMPATIENT) as running:
        async with public_shop(running.gateway_url, running.data) as shop:
            load = await a_load(shop, buyers=2)
            await load.seller.client.login(load.seller.email, PASSWORD)
            heard: list[WalletEvent] = []
            listening = asyncio.create_task(_listen(load.seller, heard))
            ordering = asyncio.create_task(load.run())
            await load.until_answered(10)
            await asyncio.to_thread(running.kill)
            await asyncio.to_thread(running.start)
            await load.until_answered(len(load.answered) + 10)
            await stop_load(ordering)

            settled = [order for order in await load.ended() if order.state == "SETTLED"]
            await until(lambda: _count(heard), lambda seen: seen >= len(settled) + 1, "all events")
            await stop_load(listening)

    assert [event.sequence for event in heard] == list(range(1, len(settled) + 2))
    assert {event.fact["order_id"] for event in heard[1:]} == {str(order.order_id) for order in settled}


async def _listen(person: Person, heard: list[WalletEvent]) -> None:
    async for event in person.client.events(last_sequence=0):
        heard.append(event)  # noqa: PERF401 - the others look on while it grows


async def _count(heard: list[WalletEvent]) -> int:
    return len(heard)


async def test_a_session_is_renewed_before_its_token_ends(tmp_path: Path) -> None:
    with platform_process(tmp_path / "data", {"TRADEFLOW_GATEWAY_ACCESS_TOKEN_SECONDS": "1"}) as process:
        async with public_shop(process.gateway_url, process.data) as shop:
            buyer = await shop.person(funds_minor=100)
            first = buyer.client.access_token

            await until(lambda: _token_after_a_call(buyer), lambda token: token != first, "another token")

            balances = await asyncio.gather(*(buyer.balance() for _ in range(10)))
            assert {balance.posted for balance in balances} == {eur(100)}


async def _token_after_a_call(person: Person) -> str:
    await person.balance()
    return person.client.access_token
