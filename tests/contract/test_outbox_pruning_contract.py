"""Old published events go, step by step, whoever else is at work, on every database."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from services.runtime.broker.port import Message
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.outbox import OutboxRelay, RelayMetrics, RelaySettings, append
from tests.support.clock import START, VirtualClock
from tests.support.fake_producer import FakeProducer
from tests.support.faulty_database import FaultyDatabase
from tests.support.outbox import SETTINGS, STREAM, an_event, cursor_of, events_of, publish_all, write, write_one_by_one
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


async def pruned_down_to(database: Database, clock: VirtualClock, count: int) -> None:
    """Let time pass until so few events are kept."""
    give_up_at = time.monotonic() + 20
    while len(await events_of(database, STREAM)) > count:
        assert time.monotonic() < give_up_at
        await clock.advance(1)
        await asyncio.sleep(0.001)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def test_only_published_events_that_are_old_are_deleted(database: Database, clock: VirtualClock) -> None:
    settings = dataclasses.replace(SETTINGS, batch_events_max=50, prune_step_packs=20)
    relay = OutboxRelay(database, FakeProducer(), STREAM, clock, settings)
    await write_one_by_one(database, *(an_event() for _ in range(90)))
    await write_one_by_one(database, *(replace(an_event(), recorded_at=START + timedelta(days=5)) for _ in range(5)))
    await relay.publish_next()

    assert await relay.prune(recorded_before=START + timedelta(days=1)) == 50
    await publish_all(relay)
    assert await relay.prune(recorded_before=START + timedelta(days=1)) == 40
    assert await relay.prune(recorded_before=START + timedelta(days=1)) == 0


async def test_a_running_relay_deletes_what_is_past_its_retention(database: Database, clock: VirtualClock) -> None:
    settings = dataclasses.replace(SETTINGS, retention=timedelta(days=1), prune_step_packs=10)
    await write_one_by_one(database, *(an_event() for _ in range(35)))
    running = asyncio.create_task(OutboxRelay(database, FakeProducer(), STREAM, clock, settings).run())
    await clock.advance(60)
    clock._now += timedelta(days=2)

    await pruned_down_to(database, clock, 0)
    await stopped(running)

    assert await cursor_of(database) == 35


async def test_another_stream_is_left_alone(database: Database, clock: VirtualClock) -> None:
    relay = OutboxRelay(database, FakeProducer(), STREAM, clock, SETTINGS)
    await write_one_by_one(database, an_event(), an_event())
    async with database.transaction() as connection:
        await append(connection, "another", [an_event()], first_sequence=1)
    await publish_all(relay)

    await relay.prune(recorded_before=START + timedelta(days=1))

    assert len(await events_of(database, STREAM)) == 0
    assert len(await events_of(database, "another")) == 1


async def test_while_another_relay_holds_the_lease_nothing_is_pruned(database: Database, clock: VirtualClock) -> None:
    publishing = OutboxRelay(database, FakeProducer(), STREAM, clock, SETTINGS)
    standing_by = OutboxRelay(database, FakeProducer(), STREAM, clock, SETTINGS)
    await write_one_by_one(database, *(an_event() for _ in range(4)))
    await publish_all(publishing)

    meanwhile = await standing_by.prune(recorded_before=START + timedelta(days=1))
    await clock.advance(11)
    afterwards = await standing_by.prune(recorded_before=START + timedelta(days=1))

    assert (meanwhile, afterwards) == (0, 4)


async def test_pruning_goes_on_where_a_crashed_relay_stopped(database: Database, clock: VirtualClock) -> None:
    first = OutboxRelay(database, FakeProducer(), STREAM, clock, dataclasses.replace(SETTINGS, prune_step_packs=3))
    await write_one_by_one(database, *(an_event(f"{n}") for n in range(8)))
    await publish_all(first)
    await first._pruner.step(recorded_before=START + timedelta(days=1))
    await clock.advance(11)

    second = OutboxRelay(database, FakeProducer(), STREAM, clock, SETTINGS)
    kept = [event.payload for _, event in await events_of(database, STREAM)]
    pruned = await second.prune(recorded_before=START + timedelta(days=1))

    assert kept == [b"3", b"4", b"5", b"6", b"7"]
    assert pruned == 5


async def test_pruning_takes_no_lock_that_writing_or_publishing_waits_for(
    database: Database, clock: VirtualClock, engine_url: str
) -> None:
    if engine_url.startswith("sqlite"):
        pytest.skip("SQLite has one lock for all that write")
    log: list[Message] = []
    held = FaultyDatabase(database)
    pruning = OutboxRelay(held, FakeProducer(log), STREAM, clock, SETTINGS)
    successor = OutboxRelay(database, FakeProducer(log), STREAM, clock, SETTINGS)
    await write_one_by_one(database, *(an_event(f"{n}") for n in range(4)))
    await publish_all(pruning)
    # All packs go, up to the end of the table, where new ones come.
    held.hold_commits_back()
    deleting = asyncio.create_task(pruning.prune(recorded_before=START + timedelta(days=1)))
    await held.reached_commit.wait()

    await clock.advance(11)
    async with asyncio.timeout(30):
        await write_one_by_one(database, *(an_event(f"{n}") for n in range(4, 8)))
        await publish_all(successor)
    was_open = not deleting.done()
    held.let_commits_go()

    assert was_open
    assert await deleting >= 4
    assert [message.value for message in log] == [f"{n}".encode() for n in range(8)]
    assert await cursor_of(database) == 8


@pytest.mark.ci
async def test_writers_and_readers_do_not_notice_that_thousands_of_events_go(database: Database) -> None:
    log: list[Message] = []
    settings = RelaySettings(poll_seconds=0.005, cursor_every_seconds=0, retention=None)
    relay = OutboxRelay(database, FakeProducer(log), STREAM, settings=settings)
    packs = [[an_event("x" * 200) for _ in range(64)] for _ in range(200)]
    for some in packs:
        await write(database, *some)
    await publish_all(relay)
    pruning = asyncio.create_task(relay.prune(recorded_before=START + timedelta(days=1)))
    waits_seconds: list[float] = []
    while not pruning.done():
        began_at_seconds = time.monotonic()
        await write(database, replace(an_event("late"), recorded_at=START + timedelta(days=2)))
        waits_seconds.append(time.monotonic() - began_at_seconds)

    assert await pruning == 200
    assert sorted(waits_seconds)[len(waits_seconds) // 2] < 0.1
    assert len(await events_of(database, STREAM)) == len(waits_seconds)


async def test_what_is_past_its_retention_shows_in_the_metrics(database: Database, clock: VirtualClock) -> None:
    registry = CollectorRegistry()
    relay = OutboxRelay(database, FakeProducer(), STREAM, clock, SETTINGS, RelayMetrics(registry))
    await write_one_by_one(database, an_event(), an_event())
    await publish_all(relay)

    await relay._pruner.step(recorded_before=START + timedelta(hours=1))
    lag = registry.get_sample_value("tradeflow_outbox_prune_lag_seconds", {"stream": STREAM})
    await relay._pruner.step(recorded_before=START + timedelta(hours=1))

    assert lag == 3600
    assert registry.get_sample_value("tradeflow_outbox_pruned_packs_total", {"stream": STREAM}) == 2
    assert registry.get_sample_value("tradeflow_outbox_prune_lag_seconds", {"stream": STREAM}) == 0
