"""When a relay looks and how seldom it writes, on every database."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.outbox import OutboxRelay
from tests.support.clock import VirtualClock
from tests.support.counting_database import CountingDatabase
from tests.support.fake_producer import FakeProducer
from tests.support.outbox import (
    SETTINGS,
    STREAM,
    advance_until,
    an_event,
    cursor_of,
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


async def test_an_idle_relay_writes_nothing(database: Database, clock: VirtualClock) -> None:
    counting = CountingDatabase(database)
    producer = FakeProducer()
    await write(database, an_event())
    running = asyncio.create_task(OutboxRelay(counting, producer, STREAM, clock, SETTINGS).run())
    await advance_until(clock, lambda: producer.log)
    await eventually(lambda: has_cursor(database, 1))
    before = counting.transactions

    for _ in range(200):
        await clock.advance(1)
    after = counting.transactions
    await stopped(running)

    assert after == before


async def test_a_woken_relay_publishes_at_once(database: Database) -> None:
    producer = FakeProducer()
    relay = OutboxRelay(database, producer, STREAM, settings=dataclasses.replace(SETTINGS, poll_seconds=30))
    running = asyncio.create_task(relay.run())
    delays: list[float] = []
    for number in range(5):
        await asyncio.sleep(0.02)
        published = asyncio.Event()
        producer.on_publish = told(published)
        await write_numbers(database, range(number, number + 1))
        began = time.monotonic()
        relay.wake()
        async with asyncio.timeout(30):
            await published.wait()
        delays.append(time.monotonic() - began)
    await stopped(running)

    assert sorted(delays)[2] < 0.05


async def test_events_that_follow_each_other_wait_for_company(database: Database) -> None:
    producer, sizes = FakeProducer(), list[int]()

    async def note_size() -> None:
        sizes.append(len(producer.log))

    producer.on_publish = note_size
    relay = OutboxRelay(database, producer, STREAM, settings=dataclasses.replace(SETTINGS, linger_seconds=1.0))
    running = asyncio.create_task(relay.run())
    for number in range(3):
        await write_numbers(database, range(number, number + 1))
        relay.wake()
    await eventually(lambda: len(producer.log) == 3)
    await stopped(running)

    assert payloads(producer.log) == ["0", "1", "2"]
    assert len(sizes) <= 2


def told(event: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def tell() -> None:
        event.set()

    return tell


async def test_the_cursor_is_written_once_in_a_while_and_when_nothing_is_left(
    database: Database, clock: VirtualClock
) -> None:
    relay = OutboxRelay(
        database, FakeProducer(), STREAM, clock, dataclasses.replace(SETTINGS, cursor_every_seconds=1.0)
    )
    cursors = []
    for number in range(4):
        await write_numbers(database, range(number, number + 1))
        await relay.publish_next()
        cursors.append(await cursor_of(database))
        await clock.advance(0.4)
    await relay.publish_next()

    assert cursors == [1, 1, 1, 4]
    assert await cursor_of(database) == 4


async def test_the_cursor_is_written_also_when_the_clock_was_set_back(database: Database, clock: VirtualClock) -> None:
    settings = dataclasses.replace(SETTINGS, cursor_every_seconds=60)
    relay = OutboxRelay(database, FakeProducer(), STREAM, clock, settings)
    await write_numbers(database, range(1))
    await relay.publish_next()
    await write_numbers(database, range(1, 2))

    await clock.advance(-3600)
    await relay.publish_next()

    assert await cursor_of(database) == 2


async def test_a_relay_that_stops_says_how_far_it_came(database: Database, clock: VirtualClock) -> None:
    settings = dataclasses.replace(SETTINGS, cursor_every_seconds=3600, poll_seconds=3600)
    producer, successor = FakeProducer(), FakeProducer()
    relay = OutboxRelay(database, producer, STREAM, clock, settings)
    await write_numbers(database, range(3))
    running = asyncio.create_task(relay.run())
    await eventually(lambda: len(producer.log) == 3)
    await write_numbers(database, range(3, 4))
    relay.wake()
    await eventually(lambda: len(producer.log) == 4)
    await stopped(running)

    await publish_all(OutboxRelay(database, successor, STREAM, clock, settings))

    assert payloads(producer.log) == ["0", "1", "2", "3"]
    assert payloads(successor.log) == []


async def test_a_relay_that_nobody_wakes_looks_by_itself(database: Database, clock: VirtualClock) -> None:
    producer = FakeProducer()
    running = asyncio.create_task(OutboxRelay(database, producer, STREAM, clock, SETTINGS).run())
    await clock.advance(5)
    await write(database, an_event("late"))

    await advance_until(clock, lambda: producer.log)
    await stopped(running)

    assert payloads(producer.log) == ["late"]


async def test_events_that_come_one_by_one_move_the_stored_cursor_seldom_and_in_the_end(
    database: Database, clock: VirtualClock
) -> None:
    settings, producer = dataclasses.replace(SETTINGS, cursor_every_seconds=60, poll_seconds=1), FakeProducer()
    relay = OutboxRelay(database, producer, STREAM, clock, settings)
    running = asyncio.create_task(relay.run())
    stored = []
    for number in range(1, 6):
        await write(database, an_event())
        relay.wake()
        await eventually(lambda number=number: len(producer.log) == number)  # type: ignore[misc]
        stored.append(await cursor_of(database))

    assert max(stored) <= 1

    async def is_stored_a_minute_later() -> bool:
        await clock.advance(60)
        return await has_cursor(database, 5)

    await eventually(is_stored_a_minute_later)
    await stopped(running)
