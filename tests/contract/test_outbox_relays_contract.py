"""Several relays of one outbox, on every database: one publishes, and whoever takes over loses and doubles nothing."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import pytest

from services.runtime.broker.port import Message
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.outbox import OutboxRelay, RelaySettings
from tests.support.clock import START, VirtualClock
from tests.support.counting_database import CountingDatabase
from tests.support.fake_producer import FakeProducer
from tests.support.outbox import (
    SETTINGS,
    STREAM,
    an_event,
    cursor_of,
    first_copies,
    has_cursor,
    payloads,
    publish_all,
    stopped,
    write,
    write_numbers,
)
from tests.support.plumbing_tables import create_plumbing_tables
from tests.support.waiting import eventually


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    await create_plumbing_tables(database)
    yield database
    await database.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def test_the_next_relay_goes_on_behind_the_cursor(database: Database, clock: VirtualClock) -> None:
    first, second = FakeProducer(), FakeProducer()
    await write_numbers(database, range(3))
    await publish_all(OutboxRelay(database, first, STREAM, clock, SETTINGS))
    await write_numbers(database, range(3, 5))
    await clock.advance(60)

    await publish_all(OutboxRelay(database, second, STREAM, clock, SETTINGS))

    assert payloads(second.log) == ["3", "4"]


async def test_a_second_relay_stands_by_and_writes_nothing(database: Database, clock: VirtualClock) -> None:
    first, second = FakeProducer(), FakeProducer()
    counting = CountingDatabase(database)
    publishing = OutboxRelay(database, first, STREAM, clock, SETTINGS)
    standing_by = OutboxRelay(counting, second, STREAM, clock, SETTINGS)
    for start in range(0, 20, 4):
        await write_numbers(database, range(start, start + 4))
        first.hold_up()
        under_way = asyncio.create_task(publishing.publish_next())
        await first.held_up.wait()
        assert await standing_by.publish_next() == 0
        first.let_go()
        await under_way

    assert payloads(first.log) == [str(number) for number in range(20)]
    assert second.log == []
    assert counting.transactions == 0
    assert counting.snapshots == 5, "each time it looked who publishes, and read no events"


async def test_an_event_that_another_process_wrote_is_soon_found_where_they_write_beside_each_other(
    database: Database, clock: VirtualClock
) -> None:
    counting = CountingDatabase(database)
    producer = FakeProducer()
    running = asyncio.create_task(OutboxRelay(counting, producer, STREAM, clock, SETTINGS).run())
    await eventually(lambda: clock.sleepers == 1)
    await write(database, an_event("found by a seldom look"))
    await clock.advance(SETTINGS.poll_seconds)
    await eventually(lambda: len(producer.log) == 1 and clock.sleepers == 1)

    await write(database, an_event("found soon"))
    await clock.advance(SETTINGS.others_poll_seconds)
    await eventually(lambda: len(producer.log) == 2 and clock.sleepers == 1)

    await clock.advance(SETTINGS.lease_seconds)
    await eventually(lambda: clock.sleepers == 1)
    looks = counting.snapshots
    await clock.advance(SETTINGS.poll_seconds - SETTINGS.others_poll_seconds)
    assert counting.snapshots == looks, "nobody wrote for long: it looks seldom again"
    await clock.advance(SETTINGS.others_poll_seconds)
    await eventually(lambda: counting.snapshots > looks)
    await stopped(running)

    assert payloads(producer.log) == ["found by a seldom look", "found soon"]


async def test_a_relay_that_was_paused_past_its_lease_changes_no_order(database: Database, clock: VirtualClock) -> None:
    log: list[Message] = []
    paused_producer, producer = FakeProducer(log), FakeProducer(log)
    paused = OutboxRelay(database, paused_producer, STREAM, clock, SETTINGS)
    successor = OutboxRelay(database, producer, STREAM, clock, SETTINGS)
    await write_numbers(database, range(10))
    paused_producer.hold_up()
    under_way = asyncio.create_task(paused.publish_next())
    await paused_producer.held_up.wait()
    await clock.advance(11)
    await publish_all(successor)
    cursor_before = await cursor_of(database)
    paused_producer.let_go()
    await under_way
    cursor_after = await cursor_of(database)
    await write_numbers(database, range(10, 20))
    await clock.advance(11)
    await publish_all(paused)
    await publish_all(successor)

    assert first_copies(log) == [str(number) for number in range(20)]
    assert cursor_before == cursor_after == 10
    assert await cursor_of(database) == 20


async def test_a_relay_that_died_with_a_clock_ahead_is_waited_for_no_longer_than_a_minute(
    database: Database, clock: VirtualClock
) -> None:
    producer = FakeProducer()
    await write_numbers(database, range(2))
    await publish_all(OutboxRelay(database, FakeProducer(), STREAM, VirtualClock(START + timedelta(days=1)), SETTINGS))
    await write_numbers(database, range(2, 4))
    successor = OutboxRelay(database, producer, STREAM, clock, SETTINGS)

    assert await successor.publish_next() == 0
    await clock.advance(61)
    await publish_all(successor)

    assert payloads(producer.log) == ["2", "3"]


async def test_a_relay_that_takes_over_publishes_nothing_again(database: Database, clock: VirtualClock) -> None:
    log: list[Message] = []
    first = OutboxRelay(database, FakeProducer(log), STREAM, clock, SETTINGS)
    second = OutboxRelay(database, FakeProducer(log), STREAM, clock, SETTINGS)
    for start, relay in enumerate([second, first, second, first]):
        await write_numbers(database, range(start * 3, start * 3 + 3))
        await publish_all(relay)
        await clock.advance(11)

    assert payloads(log) == [str(number) for number in range(12)]


async def test_events_of_one_key_stay_in_order_whoever_writes_and_publishes_at_once(database: Database) -> None:
    log: list[Message] = []
    settings = RelaySettings(batch_events_max=8, poll_seconds=0.005, lease_seconds=0.2, retention=None)
    running = [
        asyncio.create_task(OutboxRelay(database, FakeProducer(log), STREAM, settings=settings).run()) for _ in range(2)
    ]

    async def write_some(key: str) -> None:
        for number in range(0, 40, 4):
            await write(database, *[an_event(f"{key}-{each}", key=key) for each in range(number, number + 4)])

    await asyncio.gather(*[write_some(key) for key in "abcd"])
    await eventually(lambda: len(first_copies(log)) == 160)
    for task in running:
        await stopped(task)

    copies = first_copies(log)
    for key in "abcd":
        assert [copy for copy in copies if copy[0] == key] == [f"{key}-{number}" for number in range(40)]


class RoughSea:
    """Two relays on one stream, with pauses, failures and time that passes, all by a seed."""

    def __init__(self, database: Database, clock: VirtualClock, seed: int, settings: RelaySettings) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - a seed makes it repeatable
        self.database = database
        self.clock = clock
        self.log: list[Message] = []
        self.producers = [FakeProducer(self.log), FakeProducer(self.log)]
        self.relays = [OutboxRelay(database, producer, STREAM, clock, settings) for producer in self.producers]
        self.tasks: list[asyncio.Task[int] | None] = [None, None]
        self.written = 0

    async def step(self) -> None:
        which = self.dice.randrange(2)
        await self.dice.choice([self.write, self.write, self.pause, self.resume, self.fail, self.let_time_pass])(which)
        self.start(which)
        for _ in range(self.dice.randrange(10)):
            await asyncio.sleep(0)

    async def write(self, _which: int) -> None:
        count = self.dice.randrange(1, 6)
        await write_numbers(self.database, range(self.written, self.written + count))
        self.written += count

    async def pause(self, which: int) -> None:
        self.producers[which].hold_up()

    async def resume(self, which: int) -> None:
        self.producers[which].let_go()

    async def fail(self, which: int) -> None:
        self.producers[which].publishes_left = self.dice.randrange(4)

    async def let_time_pass(self, _which: int) -> None:
        await self.clock.advance(self.dice.choice([1, 4, 6, 11]))

    def start(self, which: int) -> None:
        task = self.tasks[which]
        if task is not None and task.done():
            with suppress(UnavailableError):
                task.result()
        if task is None or task.done():
            self.tasks[which] = asyncio.create_task(self.relays[which].publish_next())

    async def calm(self) -> None:
        for producer in self.producers:
            producer.publishes_left = None
            producer.let_go()
        await asyncio.gather(*(task for task in self.tasks if task), return_exceptions=True)
        for relay in self.relays * 2:
            await self.clock.advance(11)
            await publish_all(relay)


@pytest.mark.parametrize("cursor_every_seconds", [0, 5])
@pytest.mark.parametrize("seed", range(10))
async def test_two_relays_with_pauses_and_failures_keep_the_order_and_lose_nothing(
    database: Database, clock: VirtualClock, seed: int, cursor_every_seconds: float
) -> None:
    sea = RoughSea(database, clock, seed, dataclasses.replace(SETTINGS, cursor_every_seconds=cursor_every_seconds))
    for _ in range(60):
        await sea.step()
    await sea.calm()

    assert first_copies(sea.log) == [str(number) for number in range(sea.written)]
    assert await cursor_of(database) == sea.written


async def test_a_relay_that_stops_lets_the_next_go_on_at_once(database: Database, clock: VirtualClock) -> None:
    first, second = FakeProducer(), FakeProducer()
    await write_numbers(database, range(2))
    running = asyncio.create_task(OutboxRelay(database, first, STREAM, clock, SETTINGS).run())
    await eventually(lambda: has_cursor(database, 2))
    await stopped(running)
    await write_numbers(database, range(2, 4))

    await publish_all(OutboxRelay(database, second, STREAM, clock, SETTINGS))

    assert payloads(second.log) == ["2", "3"]
