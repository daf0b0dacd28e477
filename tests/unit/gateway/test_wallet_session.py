"""One connection's story, step by step: against a history and a ledger that a test fills as it likes."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from services.gateway import wallet_session
from services.gateway.ports import HistoryPage, LedgerPage, WalletNotice
from services.gateway.wallet_feed import WalletFeed
from services.gateway.wallet_session import (
    RESTARTING,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    TRY_AGAIN,
    Draining,
    Heartbeat,
    Hello,
    ReloadRequired,
    ServerMessage,
    SessionParts,
    WalletSession,
)
from services.runtime.errors import RateLimitedError, UnavailableError
from services.runtime.jwt import Principal
from tests.support.clock import VirtualClock

WALLET = "w1"


AFTER_THE_RESTORE = 10_000
"""Later than any event that was lost by it."""


def notice(sequence: int, *, later: int = 0) -> WalletNotice:
    payload = f"{sequence} {later}".encode()
    return WalletNotice(wallet_id=WALLET, sequence=sequence, recorded_at_micros=sequence + later, payload=payload)


def notices(first: int, last: int, *, later: int = 0) -> list[WalletNotice]:
    return [notice(sequence, later=later) for sequence in range(first, last + 1)]


@dataclass
class FakeHistory:
    notices: list[WalletNotice] = field(default_factory=list)
    is_down: bool = False

    async def append(self, notices: Sequence[WalletNotice]) -> None:
        self.notices += notices

    async def read(self, wallet_id: str, *, after_sequence: int | None) -> HistoryPage:
        assert wallet_id == WALLET
        if self.is_down:
            raise UnavailableError("away")
        newest = max(self.notices, key=lambda known: known.sequence, default=None)
        later = [known for known in self.notices if after_sequence is not None and known.sequence > after_sequence]
        return HistoryPage(newest=newest, notices=tuple(later))

    async def forget(self, wallet_id: str) -> None:
        assert wallet_id == WALLET
        if self.is_down:
            raise UnavailableError("away")
        self.notices = []


@dataclass
class FakeLedger:
    newest: int = 0
    kept_from: int = 1
    is_down: bool = False
    shows_nothing: bool = False
    later: int = 0
    calls: list[int] = field(default_factory=list)

    async def list_wallet_events(self, owner: Principal, *, after_sequence: int, page_size: int) -> LedgerPage:
        assert owner.subject == WALLET
        self.calls.append(after_sequence)
        if self.is_down:
            raise UnavailableError("away")
        if after_sequence + 1 < self.kept_from or after_sequence > self.newest:
            return LedgerPage(last_sequence=self.newest, reload_required=True, notices=())
        page = notices(after_sequence + 1, min(self.newest, after_sequence + page_size), later=self.later)
        shown = () if self.shows_nothing else tuple(page)
        return LedgerPage(last_sequence=self.newest, reload_required=False, notices=shown)


class World:
    """A feed with one connection."""

    def __init__(self, *, queue_events_max: int = 100, heartbeat_seconds: float = 3600.0) -> None:
        self.history = FakeHistory()
        self.ledger = FakeLedger()
        self.clock = VirtualClock()
        self.revoked: set[str] = set()
        self.feed = WalletFeed(queue_events_max=queue_events_max, connections_max=10, connections_per_wallet_max=3)
        self.parts = SessionParts(
            feed=self.feed,
            history=self.history,
            ledger=self.ledger,
            clock=self.clock,
            is_revoked=self.is_revoked,
            heartbeat_seconds=heartbeat_seconds,
        )
        self.owner = Principal(
            subject=WALLET,
            roles=frozenset({"buyer"}),
            audience="tradeflow",
            token_id="t1",
            expires_at=self.clock.now() + timedelta(minutes=10),
            token="token",
        )

    async def is_revoked(self, principal: Principal) -> bool:
        return principal.token_id in self.revoked

    async def happen(self, *sequences: int) -> None:
        """Publish as the reader does."""
        for sequence in sequences:
            self.ledger.newest = max(self.ledger.newest, sequence)
            await self.history.append([notice(sequence)])
            self.feed.publish(notice(sequence))

    def restore(self, newest: int) -> None:
        """Set the ledger back to an earlier moment; what comes then is recorded later than all that was lost."""
        self.ledger.newest, self.ledger.later = newest, AFTER_THE_RESTORE

    async def first(self, count: int, last_sequence: int | None = None) -> list[ServerMessage]:
        """Connect and read so many messages."""
        with self.feed.subscribed(WALLET) as subscription:
            session = WalletSession(self.parts, subscription, self.owner, last_sequence)
            await session.prepare()
            async with aclosing(session.messages()) as messages:
                return await read(messages, count)


async def read(messages: AsyncGenerator[ServerMessage, None], count: int) -> list[ServerMessage]:
    async with asyncio.timeout(60):
        return [await anext(messages) for _ in range(count)]


async def to_the_end(messages: AsyncGenerator[ServerMessage, None]) -> list[ServerMessage]:
    async with asyncio.timeout(60):
        return [message async for message in messages]


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wallet_session, "FILL_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(wallet_session, "FILL_PAUSE_SECONDS_MAX", 0.002)


def hello(last_sequence: int) -> Hello:
    return Hello(wallet_id=WALLET, last_sequence=last_sequence)


async def test_what_this_replica_saw_is_resumed_without_asking_the_ledger() -> None:
    world = World()
    await world.happen(1, 2, 3)

    assert await world.first(3, last_sequence=1) == [hello(3), *notices(2, 3)]
    assert world.ledger.calls == []


async def test_a_replica_that_saw_nothing_of_a_wallet_asks_the_ledger_once() -> None:
    world = World()
    world.history.notices = notices(1, 3)
    world.ledger.newest = 3

    for _ in range(3):
        assert await world.first(3, last_sequence=1) == [hello(3), *notices(2, 3)]

    assert world.ledger.calls == [3]


async def test_what_a_history_lacks_at_its_end_comes_from_the_ledger() -> None:
    world = World()
    world.history.notices = notices(1, 3)
    world.ledger.newest = 5

    assert await world.first(5, last_sequence=1) == [hello(5), *notices(2, 5)]


async def test_a_history_with_a_hole_is_not_used_past_it() -> None:
    world = World()
    await world.happen(1, 2, 3, 4, 5)
    world.history.notices = [notice(2), notice(3), notice(5)]

    assert await world.first(5, last_sequence=1) == [hello(5), *notices(2, 5)]
    assert world.ledger.calls == [3]


async def test_a_history_that_begins_too_late_is_not_used() -> None:
    world = World()
    await world.happen(*range(1, 11))
    world.history.notices = notices(8, 10)

    assert await world.first(10, last_sequence=1) == [hello(10), *notices(2, 10)]


async def test_without_a_history_the_ledger_has_it_all() -> None:
    world = World()
    await world.happen(1, 2, 3)
    world.history.is_down = True

    assert await world.first(3, last_sequence=1) == [hello(3), *notices(2, 3)]


async def test_without_a_last_sequence_only_later_events_are_sent() -> None:
    world = World()
    await world.happen(1, 2)

    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, None)
        await session.prepare()
        await world.happen(3)
        async with aclosing(session.messages()) as messages:
            assert await read(messages, 2) == [hello(2), notice(3)]


async def test_an_event_between_the_subscription_and_the_history_is_sent_once() -> None:
    world = World()
    await world.happen(1, 2)

    with world.feed.subscribed(WALLET) as subscription:
        await world.happen(3)
        session = WalletSession(world.parts, subscription, world.owner, 1)
        await session.prepare()
        await world.happen(4)
        async with aclosing(session.messages()) as messages:
            assert await read(messages, 4) == [hello(3), *notices(2, 4)]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_lost_repeated_or_late_each_event_is_sent_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same story for the same seed
    world = World(queue_events_max=10_000)
    total, asked = 200, chance.randrange(0, 40)
    world.ledger.newest = chance.randrange(asked, 60)
    world.history.notices = [known for known in notices(1, world.ledger.newest) if chance.random() < 0.8]

    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, asked)
        await session.prepare()
        sequence = world.ledger.newest
        while sequence < total:
            sequence += 1
            if chance.random() < 0.7 or sequence == total:
                await world.happen(sequence)
            if chance.random() < 0.2:
                world.feed.publish(notice(chance.randrange(1, sequence + 1)))
            world.ledger.newest = max(world.ledger.newest, sequence)
        async with aclosing(session.messages()) as messages:
            sent = [message async for message in until_sequence(messages, total)]

    assert [message.sequence for message in sent] == list(range(asked + 1, total + 1))


async def until_sequence(
    messages: AsyncGenerator[ServerMessage, None], last_sequence: int
) -> AsyncGenerator[WalletNotice, None]:
    async for message in messages:
        if isinstance(message, WalletNotice):
            yield message
            if message.sequence == last_sequence:
                return


async def test_what_nobody_keeps_is_a_reload() -> None:
    world = World()
    world.ledger.newest, world.ledger.kept_from = 10, 8

    assert await world.first(2, last_sequence=2) == [hello(10), ReloadRequired(last_sequence=10)]


async def test_the_part_that_the_history_has_is_sent_before_a_reload() -> None:
    world = World()
    world.history.notices = notices(1, 4)
    world.ledger.newest, world.ledger.kept_from = 10, 8

    sent = await world.first(4, last_sequence=2)

    assert sent == [hello(10), *notices(3, 4), ReloadRequired(last_sequence=10)]


async def test_a_client_that_is_ahead_of_this_replica_but_not_of_the_ledger_misses_nothing() -> None:
    world = World()
    await world.happen(1, 2)
    world.ledger.newest = 4

    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, 3)
        await session.prepare()
        await world.happen(3, 4)
        async with aclosing(session.messages()) as messages:
            assert await read(messages, 2) == [hello(4), notice(4)]


async def test_a_client_that_is_ahead_of_the_ledger_is_told_to_reload() -> None:
    world = World()
    world.ledger.newest = 2

    assert await world.first(2, last_sequence=9) == [hello(2), ReloadRequired(last_sequence=2)]


async def test_nothing_is_promised_when_nobody_can_tell() -> None:
    world = World()
    world.ledger.is_down = True

    with pytest.raises(UnavailableError):
        await world.first(1, last_sequence=0)


async def test_a_gap_that_the_ledger_does_not_fill_ends_the_connection_for_now() -> None:
    world = World()
    await world.happen(1)
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, None)
        await session.prepare()
        await world.happen(3)
        world.ledger.shows_nothing = True
        async with aclosing(session.messages()) as messages:
            assert await to_the_end(messages) == [hello(1)]

    assert session.ending == TRY_AGAIN
    assert session.position == 1


async def test_after_a_lost_place_in_the_topic_connections_ask_for_what_passed_unseen() -> None:
    world = World()
    await world.happen(1)
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, None)
        await session.prepare()
        async with aclosing(session.messages()) as messages:
            assert await read(messages, 1) == [hello(1)]
            world.ledger.newest = 4
            world.feed.lose_continuity()
            assert await read(messages, 3) == notices(2, 4)


async def test_what_was_known_before_a_lost_place_is_asked_for_anew() -> None:
    world = World()
    await world.happen(1)
    world.feed.lose_continuity()
    world.ledger.newest = 3

    assert await world.first(1) == [hello(3)]


async def test_who_watches_is_told_to_reload_by_the_first_event_whose_number_was_seen_before() -> None:
    world = World()
    await world.happen(*range(1, 10))
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, 9)
        await session.prepare()
        async with aclosing(session.messages()) as messages:
            assert await read(messages, 1) == [hello(9)]
            world.restore(4)
            for again in notices(5, 6, later=AFTER_THE_RESTORE):
                world.feed.publish(again)
            told = await read(messages, 2)

    assert told == [ReloadRequired(last_sequence=5), notice(6, later=AFTER_THE_RESTORE)]


async def test_who_comes_back_before_that_event_sees_nothing_that_was_lost_and_tells_the_others() -> None:
    world = World()
    await world.happen(*range(1, 10))
    with world.feed.subscribed(WALLET) as subscription:
        watching = WalletSession(world.parts, subscription, world.owner, 9)
        await watching.prepare()
        world.restore(4)
        world.feed.lose_continuity()  # as in a replica that was started anew

        for asked in (7, 3):
            assert await world.first(2, last_sequence=asked) == [hello(4), ReloadRequired(last_sequence=4)]
            world.history.notices = notices(1, 9)  # a slower replica still writes
            world.feed.lose_continuity()
        assert await world.first(1) == [hello(4)]

        assert world.history.notices == []
        async with aclosing(watching.messages()) as messages:
            assert await read(messages, 2) == [hello(9), ReloadRequired(last_sequence=4)]


async def test_a_watcher_that_asks_and_is_ahead_of_a_restored_ledger_reloads_and_history_is_dropped() -> None:
    world = World()
    await world.happen(*range(1, 10))
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, 9)
        await session.prepare()
        async with aclosing(session.messages()) as messages:
            assert await read(messages, 1) == [hello(9)]
            world.restore(4)
            world.feed.lose_continuity()
            assert await read(messages, 1) == [ReloadRequired(last_sequence=4)]

    assert await world.first(1) == [hello(4)]


async def test_events_that_come_again_begin_nothing_anew() -> None:
    world = World()
    await world.happen(*range(1, 10))
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, 9)
        await session.prepare()
        for again in notices(3, 9):
            world.feed.publish(again)
        await world.happen(10)
        async with aclosing(session.messages()) as messages:
            assert await read(messages, 2) == [hello(9), notice(10)]

    assert world.feed.newest_sequence(WALLET) == 10


async def test_an_answer_from_before_a_lost_place_proves_nothing() -> None:
    feed = World().feed
    before = feed.continuity

    feed.lose_continuity()
    feed.learn(WALLET, 9, continuity=before)

    assert feed.newest_sequence(WALLET) is None


async def test_a_token_that_ends_ends_the_connection_even_when_events_keep_coming() -> None:
    world = World()
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, None)
        await session.prepare()
        await world.happen(1, 2)
        await world.clock.advance(600)
        async with aclosing(session.messages()) as messages:
            assert await to_the_end(messages) == [hello(0)]

    assert session.ending == TOKEN_EXPIRED


async def test_a_heartbeat_comes_on_time_even_when_events_keep_coming() -> None:
    world = World(heartbeat_seconds=0.001)
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, None)
        await session.prepare()
        await world.happen(1, 2)
        await asyncio.sleep(0.01)  # the heartbeat's time has to pass
        async with aclosing(session.messages()) as messages:
            assert Heartbeat() in await read(messages, 3)


async def test_a_revoked_token_ends_the_connection_at_the_next_heartbeat() -> None:
    world = World(heartbeat_seconds=0.001)
    world.revoked.add("t1")
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, None)
        await session.prepare()
        async with aclosing(session.messages()) as messages:
            assert await to_the_end(messages) == [hello(0)]

    assert session.ending == TOKEN_REVOKED


async def test_a_draining_feed_tells_its_connections_and_lets_nobody_in() -> None:
    world = World()
    with world.feed.subscribed(WALLET) as subscription:
        session = WalletSession(world.parts, subscription, world.owner, None)
        await session.prepare()
        await world.feed.drain(timeout_seconds=0)
        async with aclosing(session.messages()) as messages:
            assert await to_the_end(messages) == [hello(0), Draining()]

    assert session.ending == RESTARTING
    with pytest.raises(UnavailableError), world.feed.subscribed(WALLET):
        pass


async def test_draining_waits_for_the_last_connection() -> None:
    world = World()
    with world.feed.subscribed(WALLET):
        draining = asyncio.create_task(world.feed.drain(timeout_seconds=10))
        await asyncio.sleep(0)
        assert not draining.done()

    await asyncio.wait_for(draining, timeout=5)


async def test_a_full_queue_marks_only_its_own_connection() -> None:
    world = World(queue_events_max=2)
    with world.feed.subscribed(WALLET) as slow, world.feed.subscribed(WALLET) as quick:
        for sequence in (1, 2, 3):
            world.feed.publish(notice(sequence))
            quick.take()

        assert slow.overflowed.is_set()
        assert not quick.overflowed.is_set()


async def test_connections_are_bounded_for_each_wallet_and_for_the_replica_until_one_ends() -> None:
    feed = WalletFeed(queue_events_max=1, connections_max=2, connections_per_wallet_max=1)
    with feed.subscribed("a"):
        with pytest.raises(RateLimitedError), feed.subscribed("a"):
            pass
        with feed.subscribed("b"), pytest.raises(UnavailableError), feed.subscribed("c"):
            pass
        with feed.subscribed("c"):
            pass
