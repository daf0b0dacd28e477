"""What the outbox does on every database: nothing is lost, nothing is overtaken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from msgspec.structs import replace

from services.runtime.broker.port import Message
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.outbox import OutboxRelay, append, append_numbered, read_packs
from tests.support.clock import VirtualClock
from tests.support.fake_producer import FakeProducer
from tests.support.faulty_database import AFTER_COMMIT, Fault, FaultyDatabase
from tests.support.outbox import (
    SETTINGS,
    STREAM,
    advance_until,
    an_event,
    cursor_of,
    first_copies,
    payloads,
    publish_all,
    stopped,
    write,
    write_numbers,
)
from tests.support.plumbing_tables import create_plumbing_tables


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    await create_plumbing_tables(database)
    yield database
    await database.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


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
