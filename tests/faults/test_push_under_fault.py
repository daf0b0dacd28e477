"""Many people watch their wallets while Redis, gateways and readers fail: each sees every event once, or is told.

Two gateways serve them, a ledger on its database and Kafka make the events. Redis is killed and comes back empty, a
gateway is killed, the other one is replaced in good order, and some people stop reading for a while.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import grpc
import httpx
import pytest
import structlog

from services.embedded.service_settings import ISSUER
from services.gateway.access_tokens import TokenIssuer
from services.gateway.keys import KeyRing
from services.runtime.clock import SystemClock
from tests.support.deposit_stream import DepositStream
from tests.support.public_shop import until
from tests.support.push_watcher import PushWatcher, running_on
from tests.support.real_parts import REAL_PARTS, RealParts
from tests.support.real_platform import RealPlatform, running_real_platform

logger = structlog.get_logger(__name__)

pytestmark = REAL_PARTS

SECONDS_MAX = 240.0
"""How long anything awaited may take on a busy machine; all of it takes seconds."""

TABS = 4
"""Connections of each wallet, over both gateways."""

LAZY_PEOPLE = 10
"""They watch the hot wallet, read slowly, and stop reading in the end."""

BURST_EVENTS = 500
"""Of the hot wallet at once, until each of the lazy was cut off."""

SETTINGS = {
    "TRADEFLOW_GATEWAY_CONNECTION_QUEUE_EVENTS_MAX": "256",
    "TRADEFLOW_GATEWAY_CONNECTIONS_PER_WALLET_MAX": "64",
    "TRADEFLOW_GATEWAY_DRAIN_SECONDS_MAX": "2",
}

SERVICE_RESTART = 1012


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many people, and how much happens."""

    connections: int
    events_per_second: int
    events_between_faults: int


SMALL = Scale(connections=120, events_per_second=50, events_between_faults=100)
FULL = Scale(connections=2000, events_per_second=200, events_between_faults=2000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Everybody who watches, what they watch, and whether the lazy read."""

    watchers: list[PushWatcher]
    stream: DepositStream
    the_lazy_read: asyncio.Event

    @property
    def lazy(self) -> list[PushWatcher]:
        """Those that stop reading."""
        return [watcher for watcher in self.watchers if watcher.is_lazy]

    async def until_all_are_connected(self) -> None:
        """Wait until each has heard something over the connection of now."""
        await self._until_none(lambda watcher: watcher.is_connected, "a connection of everybody")

    async def more_events(self, count: int) -> None:
        """Wait until so many more happened."""
        goal = self.stream.total + count

        async def total() -> int:
            return self.stream.total

        await until(total, lambda seen: seen >= goal, "more events", seconds_max=SECONDS_MAX)

    async def until_all_have_all(self) -> None:
        """Wait until everybody is where the ledger is."""
        wallets = sorted(set(self.stream.deposits))
        newest = {wallet: await self.stream.last_sequence(wallet) for wallet in wallets}
        await self._until_none(
            lambda watcher: watcher.last_sequence >= newest.get(watcher.wallet_id, 0), "all events at everybody's"
        )
        assert all(newest[wallet] >= count for wallet, count in self.stream.deposits.items())

    async def _until_none(self, is_fine: Callable[[PushWatcher], bool], what: str) -> None:
        async def others() -> int:
            return sum(not is_fine(watcher) for watcher in self.watchers)

        await until(others, lambda seen: seen == 0, what, seconds_max=SECONDS_MAX)


@asynccontextmanager
async def a_crowd(platform: RealPlatform, scale: Scale) -> AsyncIterator[Crowd]:
    issuer = TokenIssuer(
        KeyRing(platform.folder.keys),
        issuer=ISSUER,
        clock=SystemClock(),
        user_token_seconds=600,
        service_token_seconds=300,
    )
    gateways = [platform.services.replica_url("gateway", number) for number in (1, 2)]
    wallets = [str(uuid4()) for _ in range(scale.connections // TABS)]
    always, the_lazy_read = asyncio.Event(), asyncio.Event()
    always.set()
    the_lazy_read.set()
    tokens: dict[str, str] = {}

    def watcher(wallet: str, number: int, *, is_lazy: bool = False) -> PushWatcher:
        if wallet not in tokens:
            tokens[wallet] = issuer.user_token(user_id=wallet, roles=["buyer"]).token
        first = number % 2
        return PushWatcher(
            wallet_id=wallet,
            token=lambda: tokens[wallet],
            gateways=[gateways[first], gateways[1 - first]],
            is_reading=the_lazy_read if is_lazy else always,
            is_lazy=is_lazy,
        )

    eager = [watcher(wallet, number) for wallet in wallets for number in range(TABS)]
    lazy = [watcher(wallets[0], number, is_lazy=True) for number in range(LAZY_PEOPLE)]
    port = platform.services.grpc_ports("ledger")[0]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = DepositStream(
            channel=channel,
            issuer=issuer,
            wallets=wallets,
            hot_wallet=wallets[0],
            hot_share=0.1,
            per_second=scale.events_per_second,
        )
        yield Crowd(watchers=[*eager, *lazy], stream=stream, the_lazy_read=the_lazy_read)


async def assert_nobody_misses_anything(parts: RealParts, data: Path, scale: Scale) -> None:
    with running_real_platform(parts, data, replicas=2, settings=SETTINGS) as platform:
        async with AsyncExitStack() as stack:
            crowd = await stack.enter_async_context(a_crowd(platform, scale))
            await stack.enter_async_context(running_on([watcher.run for watcher in crowd.watchers]))
            await crowd.until_all_are_connected()
            async with running_on([crowd.stream.run]):
                await do_all_faults(platform, crowd, scale)
            await crowd.until_all_are_connected()
            await cut_the_lazy_off(platform, crowd)
            await crowd.until_all_have_all()
            assert_each_saw_all_or_was_told(crowd)


async def do_all_faults(platform: RealPlatform, crowd: Crowd, scale: Scale) -> None:
    await crowd.more_events(scale.events_between_faults)
    await asyncio.to_thread(platform.parts.redis.kill)
    await crowd.more_events(scale.events_between_faults)
    await asyncio.to_thread(platform.parts.redis.start)
    await crowd.more_events(scale.events_between_faults)
    await asyncio.to_thread(platform.replica("gateway", 2).kill)
    await crowd.more_events(scale.events_between_faults)
    await asyncio.to_thread(platform.replica("gateway", 2).start)
    await crowd.more_events(scale.events_between_faults)
    await asyncio.to_thread(platform.replica("gateway", 1).stop)
    await asyncio.to_thread(platform.replica("gateway", 1).start)
    await crowd.more_events(scale.events_between_faults)


async def cut_the_lazy_off(platform: RealPlatform, crowd: Crowd) -> None:
    """Let so much happen to the hot wallet that no network holds what the lazy don't read."""
    gateways = [platform.services.replica_url("gateway", number) for number in (1, 2)]

    async def cut_off() -> int:
        await crowd.stream.pay([crowd.stream.hot_wallet] * BURST_EVENTS)
        return sum([await slow_endings(gateway) for gateway in gateways])

    before = sum([await slow_endings(gateway) for gateway in gateways])
    crowd.the_lazy_read.clear()
    await until(cut_off, lambda seen: seen >= before + len(crowd.lazy), "the end of the lazy", seconds_max=SECONDS_MAX)
    crowd.the_lazy_read.set()


async def slow_endings(gateway: str) -> int:
    """Tell how many connections this gateway ended, since it started, because nobody read."""
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
        text = (await http.get(f"{gateway}/metrics")).text
    (sample,) = re.findall(r'connection_endings_total{reason="slow_consumer"} (\d+)', text) or ["0"]
    return int(sample)


def assert_each_saw_all_or_was_told(crowd: Crowd) -> None:
    wrong = [line for watcher in crowd.watchers for line in watcher.wrong]
    assert wrong == []
    for watcher in crowd.watchers:
        assert watcher.events == watcher.last_sequence or watcher.reloads > 0
        assert watcher.reloads == 0 or watcher.wallet_id == crowd.stream.hot_wallet
    assert sum(watcher.closings[SERVICE_RESTART] for watcher in crowd.watchers) > 0
    assert all(watcher.connections > 1 for watcher in crowd.watchers)
    assert all(watcher.connections > 1 for watcher in crowd.lazy)
    report(crowd)


def report(crowd: Crowd) -> None:
    closings: Counter[int] = sum((watcher.closings for watcher in crowd.watchers), Counter())
    logger.info(
        "watched",
        watchers=len(crowd.watchers),
        events=crowd.stream.total,
        pushes=sum(watcher.events for watcher in crowd.watchers),
        connections=sum(watcher.connections for watcher in crowd.watchers),
        closings=dict(closings),
        reloads=sum(watcher.reloads for watcher in crowd.watchers),
    )


@pytest.mark.timeout(900)
async def test_whoever_watches_a_wallet_sees_every_event_or_is_told(breakable_parts: RealParts, tmp_path: Path) -> None:
    await assert_nobody_misses_anything(breakable_parts, tmp_path / "data", SMALL)


@pytest.mark.soak
async def test_two_thousand_who_watch_their_wallets_see_every_event_or_are_told(
    breakable_parts: RealParts, tmp_path: Path
) -> None:
    await assert_nobody_misses_anything(breakable_parts, tmp_path / "data", FULL)
