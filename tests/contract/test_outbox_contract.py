"""What the outbox does on every database: nothing is lost, nothing is overtaken."""

import asyncio
import dataclasses
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from piccolo.engine.base import Engine

from services.runtime.broker.port import Message
from services.runtime.database.port import Connection, Database, PoolUsage, PreparedWrite
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.outbox import OutboxRelay, RelaySettings, append, append_numbered, read_packs
from tests.support.clock import START, VirtualClock
from tests.support.fake_producer import FakeProducer
from tests.support.faulty_database import AFTER_COMMIT, Fault, FaultyDatabase
from tests.support.outbox import STREAM, an_event, cursor_of, payloads, publish_all, write
from tests.support.plumbing_tables import create_plumbing_tables
from tests.support.waiting import eventually

SETTINGS = RelaySettings(batch_events_max=4, lease_seconds=10, cursor_every_seconds=0, retention=None)


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    await create_plumbing_tables(database)
    yield database
    await database.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def write_numbers(database: Database, numbers: range) -> None:
    await write(database, *(an_event(str(number), key=f"key-{number % 3}") for number in numbers))


def first_copies(messages: list[Message]) -> list[str]:
    return list(dict.fromkeys(payloads(messages)))


class CountingDatabase:
    """Counts the transactions that write, and those that only read."""

    def __init__(self, database: Database) -> None:
        self.engine: Engine[Any] = database.engine
        self.definitions_commit = database.definitions_commit
        self.transactions = 0
        self.snapshots = 0
        self._database = database

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        self.transactions += 1
        return self._database.transaction()

    def snapshot(self) -> AbstractAsyncContextManager[Connection]:
        self.snapshots += 1
        return self._database.snapshot()

    def prepare(self, sql: str, rows: Sequence[Sequence[object]]) -> PreparedWrite:
        return self._database.prepare(sql, rows)

    def usage(self) -> Mapping[str, PoolUsage]:
        return self._database.usage()

    async def close(self) -> None:
        await self._database.close()


async def test_an_event_arrives_with_its_headers(database: Database, clock: VirtualClock) -> None:
    producer = FakeProducer()
    traced = replace(an_event("traced"), traceparent="00-aa-bb-01")
    plain = an_event("plain")
    await write(database, traced, plain)

    await publish_all(OutboxRelay(database, producer, STREAM, clock, SETTINGS))

    assert producer.log == [
        Message(
            topic="topic",
            key=b"key",
            value=b"traced",
            headers={"event-id": str(traced.event_id), "event-type": "ThingHappened", "traceparent": "00-aa-bb-01"},
        ),
        Message(
            topic="topic",
            key=b"key",
            value=b"plain",
            headers={"event-id": str(plain.event_id), "event-type": "ThingHappened"},
        ),
    ]


async def test_events_leave_in_the_order_of_their_numbers(database: Database, clock: VirtualClock) -> None:
    producer = FakeProducer()
    for start in range(0, 30, 3):
        await write_numbers(database, range(start, start + 3))

    await publish_all(OutboxRelay(database, producer, STREAM, clock, SETTINGS))

    assert payloads(producer.log) == [str(number) for number in range(30)]
    assert await cursor_of(database) == 30


async def test_numbers_have_no_gap_whoever_writes_and_fails(database: Database) -> None:
    async def write_some(count: int) -> None:
        try:
            await write(database, *(an_event() for _ in range(count)))
        except UnavailableError:  # of several that begin a stream, all but one may be rolled back
            await write_some(count)

    async def write_and_fail() -> None:
        async with database.transaction() as connection:
            await append_numbered(connection, STREAM, [an_event(), an_event()])
            raise KeyError

    tasks = [write_some(count) for count in (1, 2, 3, 4)] + [write_and_fail() for _ in range(3)]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    async with database.snapshot() as connection:
        packs = await read_packs(connection, STREAM, after_sequence=0, events_max=100)
    assert outcomes[:4] == [None] * 4
    assert all(isinstance(outcome, KeyError | UnavailableError) for outcome in outcomes[4:])
    assert [number for pack in packs for number in range(pack.first_sequence, pack.sequence + 1)] == list(range(1, 11))


async def test_the_last_number_is_told(database: Database) -> None:
    async with database.transaction() as connection:
        assert await append_numbered(connection, STREAM, [an_event(), an_event()]) == 2
        assert await append_numbered(connection, STREAM, []) == 0
        assert await append_numbered(connection, STREAM, [an_event()]) == 3
        assert await append_numbered(connection, "another", [an_event()]) == 1


async def test_streams_do_not_mix(database: Database, clock: VirtualClock) -> None:
    producer = FakeProducer()
    async with database.transaction() as connection:
        await append(connection, "one", [an_event("one")], first_sequence=1)
        await append(connection, "two", [an_event("two")], first_sequence=1)

    await publish_all(OutboxRelay(database, producer, "two", clock, SETTINGS))

    assert payloads(producer.log) == ["two"]


async def test_the_next_relay_goes_on_behind_the_cursor(database: Database, clock: VirtualClock) -> None:
    first, second = FakeProducer(), FakeProducer()
    await write_numbers(database, range(3))
    await publish_all(OutboxRelay(database, first, STREAM, clock, SETTINGS))
    await write_numbers(database, range(3, 5))
    await clock.advance(60)

    await publish_all(OutboxRelay(database, second, STREAM, clock, SETTINGS))

    assert payloads(second.log) == ["3", "4"]


async def test_a_broker_that_fails_halfway_gets_everything_again(database: Database, clock: VirtualClock) -> None:
    producer = FakeProducer()
    for number in range(10):
        await write_numbers(database, range(number, number + 1))
    relay = OutboxRelay(database, producer, STREAM, clock, SETTINGS)
    await relay.publish_next()
    producer.on_publish = fail_after_two(producer)

    with pytest.raises(UnavailableError):
        await relay.publish_next()
    await publish_all(relay)

    assert payloads(producer.log) == ["0", "1", "2", "3", "4", "5", "4", "5", "6", "7", "8", "9"]


def fail_after_two(producer: FakeProducer) -> Callable[[], Awaitable[None]]:
    async def arrange() -> None:
        producer.on_publish = None
        producer.publishes_left = 2

    return arrange


async def test_a_running_relay_survives_a_broker_that_is_away(database: Database, clock: VirtualClock) -> None:
    producer = FakeProducer()
    producer.publishes_left = 3
    await write_numbers(database, range(10))
    relay = OutboxRelay(database, producer, STREAM, clock, SETTINGS)

    running = asyncio.create_task(relay.run())
    await advance_until(clock, lambda: len(first_copies(producer.log)) == 10)
    await stopped(running)

    assert first_copies(producer.log) == [str(number) for number in range(10)]


async def advance_until(clock: VirtualClock, reached: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < give_up_at
        await clock.advance(1)
        await asyncio.sleep(0.001)


async def has_cursor(database: Database, sequence: int) -> bool:
    return await cursor_of(database) == sequence


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_no_transaction_is_open_while_the_broker_is_called(database: Database, clock: VirtualClock) -> None:
    producer = FakeProducer()
    written: list[str] = []

    async def write_meanwhile() -> None:
        if not written:
            written.append("meanwhile")
            await write(database, an_event("meanwhile"))

    producer.on_publish = write_meanwhile
    await write(database, an_event("first"))

    await publish_all(OutboxRelay(database, producer, STREAM, clock, SETTINGS))

    assert payloads(producer.log) == ["first", "meanwhile"]


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


async def is_published_up_to(database: Database, sequence: int) -> bool:
    return await cursor_of(database) == sequence


async def test_a_relay_that_dies_between_publishing_and_its_cursor_leaves_no_gap(
    database: Database, clock: VirtualClock
) -> None:
    log: list[Message] = []
    broken = FaultyDatabase(database)
    dying = OutboxRelay(broken, FakeProducer(log), STREAM, clock, SETTINGS)
    await write_numbers(database, range(4))
    await publish_all(dying)
    await write_numbers(database, range(4, 8))
    broken.hold_commits_back()
    death = asyncio.create_task(dying.publish_next())
    await broken.reached_commit.wait()
    death.cancel()
    await asyncio.wait({death})
    cursor = await cursor_of(database)
    await clock.advance(11)

    await publish_all(OutboxRelay(database, FakeProducer(log), STREAM, clock, SETTINGS))

    assert cursor == 4
    assert payloads(log) == ["0", "1", "2", "3", "4", "5", "6", "7", "4", "5", "6", "7"]
    assert await cursor_of(database) == 8


async def test_a_relay_whose_cursor_moved_unknown_to_it_publishes_nothing_twice(
    database: Database, clock: VirtualClock
) -> None:
    log: list[Message] = []
    broken = FaultyDatabase(database)
    relay = OutboxRelay(broken, FakeProducer(log), STREAM, clock, SETTINGS)
    await write_numbers(database, range(4))
    await publish_all(relay)
    await write_numbers(database, range(4, 8))
    broken.faults = [Fault(AFTER_COMMIT)]

    with pytest.raises(UnavailableError):
        await relay.publish_next()
    await clock.advance(11)
    await publish_all(relay)

    assert first_copies(log) == [str(number) for number in range(8)]
    assert await cursor_of(database) == 8


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


async def test_a_relay_that_stops_lets_the_next_go_on_at_once(database: Database, clock: VirtualClock) -> None:
    first, second = FakeProducer(), FakeProducer()
    await write_numbers(database, range(2))
    running = asyncio.create_task(OutboxRelay(database, first, STREAM, clock, SETTINGS).run())
    await eventually(lambda: is_published_up_to(database, 2))
    await stopped(running)
    await write_numbers(database, range(2, 4))

    await publish_all(OutboxRelay(database, second, STREAM, clock, SETTINGS))

    assert payloads(second.log) == ["2", "3"]


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
