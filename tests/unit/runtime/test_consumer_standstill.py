"""A consumer that stands still: too many letters in an hour, and how it goes on."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from services.runtime.broker.port import ReceivedMessage
from services.runtime.consumer_loop import ConsumerLoop, ConsumerMetrics, LoopSettings
from services.runtime.dead_letters import (
    DISCARDED,
    settled,
)
from services.runtime.errors import RefusedError
from tests.support.clock import VirtualClock
from tests.support.consumer_loops import (
    FakeConsumer,
    Handler,
    a_loop,
    a_parking,
    a_poisoned_key,
    messages,
    reasons,
    run_until_drained,
    stop,
    waiting,
)
from tests.support.fake_producer import FakeProducer


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def dead_letters() -> FakeProducer:
    return FakeProducer()


async def until_it_stops(loop: ConsumerLoop, clock: VirtualClock) -> asyncio.Task[None]:
    """Let a loop run into its limit of dead letters."""
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(30):
        while loop.healthy:
            await clock.advance(1)
    return running


async def test_over_the_limit_of_dead_letters_it_stops_unhealthy_and_commits_only_what_is_done(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer = FakeConsumer(messages("1"), messages("2", "3", "4", first_offset=1), messages("5", first_offset=4))
    loop = a_loop(consumer, Handler(poison=["1", "2", "3", "4"]), dead_letters, clock, dead_letters_max=3)
    healthy_before = loop.healthy

    running = await until_it_stops(loop, clock)
    await clock.advance(LoopSettings().dead_letters_seconds / 2)

    assert healthy_before
    assert not loop.healthy
    assert not running.done()
    assert [value for value, _ in reasons(dead_letters)] == ["1", "2", "3"]
    assert consumer.committed == [0, 1, 2]
    assert len(consumer.batches) == 1
    await stop(running)


async def test_one_that_stopped_goes_on_by_itself_once_its_messages_can_be_handled(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer = FakeConsumer(messages("1", "2", "3"), messages("4", first_offset=3))
    handler = Handler(poison=["2", "3"])
    loop = a_loop(consumer, handler, dead_letters, clock, dead_letters_max=1)
    running = await until_it_stops(loop, clock)

    handler.mend()
    await clock.advance(LoopSettings().stopped_seconds)

    assert loop.healthy
    assert [value for value, _ in reasons(dead_letters)] == ["2"]
    assert handler.effects[-2:] == ["3", "4"]
    assert consumer.committed == [0, 1, 2, 3]
    await stop(running)


async def test_one_that_stopped_goes_on_by_itself_once_its_dead_letters_are_old(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer = FakeConsumer(messages("1", "2", "3"), messages("4", first_offset=3))
    loop = a_loop(consumer, Handler(poison=["1", "2", "3"]), dead_letters, clock, dead_letters_max=2)
    running = await until_it_stops(loop, clock)

    await clock.advance(LoopSettings().dead_letters_seconds + LoopSettings().stopped_seconds)

    assert loop.healthy
    assert [value for value, _ in reasons(dead_letters)] == ["1", "2", "3"]
    assert consumer.committed == [0, 1, 2, 3]
    await stop(running)


async def test_one_that_stopped_goes_on_by_itself_once_its_dead_letters_are_discarded(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer = FakeConsumer(messages("1", "2", "3"), messages("4", first_offset=3))
    loop = a_loop(consumer, Handler(poison=["1", "2", "3"]), dead_letters, clock, dead_letters_max=2)
    running = await until_it_stops(loop, clock)

    dead_letters.log += [settled(letter, DISCARDED) for letter in waiting(dead_letters)]
    await clock.advance(LoopSettings().stopped_seconds)

    assert loop.healthy
    assert [letter.value for letter in waiting(dead_letters)] == [b"3"]
    assert consumer.committed == [0, 1, 2, 3]
    await stop(running)


async def test_what_is_done_is_not_done_again_while_one_that_stopped_tries(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer = FakeConsumer(messages("a", "discarded", "c", "stuck"))
    handler = Handler(poison=["discarded", "stuck"])
    loop = a_loop(consumer, handler, dead_letters, clock, dead_letters_max=1)
    running = await until_it_stops(loop, clock)

    await clock.advance(LoopSettings().stopped_seconds * 3)
    dead_letters.log += [settled(letter, DISCARDED) for letter in waiting(dead_letters)]
    handler.mend()
    await clock.advance(LoopSettings().stopped_seconds)

    assert handler.effects == ["a", "c", "stuck"]
    assert consumer.committed == [0, 1, 2, 3]
    await stop(running)


async def test_what_was_parked_ahead_of_the_message_it_stands_still_at_is_not_handled_once_it_is_discarded(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    await a_poisoned_key(clock, dead_letters)
    consumer = FakeConsumer([*messages("stuck", first_offset=1), *messages("discarded", key="k", first_offset=2)])
    handler = Handler(poison=["stuck"])
    loop = a_loop(consumer, handler, dead_letters, clock, dead_letters_max=1)
    running = await until_it_stops(loop, clock)
    committed_meanwhile = list(consumer.committed)

    dead_letters.log += [settled(letter, DISCARDED) for letter in waiting(dead_letters)]
    handler.mend()
    await clock.advance(LoopSettings().stopped_seconds)

    assert committed_meanwhile == []
    assert handler.effects == ["stuck"]
    assert consumer.committed == [1, 2]
    await stop(running)


async def test_dead_letters_that_come_now_and_then_never_stop_it(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    values = [str(number) for number in range(10)]
    handler = Handler(poison=values)
    consumer = FakeConsumer()
    loop = a_loop(consumer, handler, dead_letters, clock, dead_letters_max=2)

    for offset, value in enumerate(values):
        consumer.batches.append(messages(value, first_offset=offset))
        consumer.drained.clear()
        await run_until_drained(loop, consumer, clock)
        await clock.advance(LoopSettings().dead_letters_seconds / 2)

    assert loop.healthy
    assert consumer.committed == list(range(10))


async def test_whether_it_stands_still_is_shown_while_it_runs_and_no_longer(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    registry = CollectorRegistry()
    while_it_works: list[float | None] = []

    def shown() -> float | None:
        return registry.get_sample_value("tradeflow_consumer_healthy", {"consumer": "consumer"})

    async def handle(_: list[ReceivedMessage]) -> None:
        while_it_works.append(shown())
        raise RefusedError("no", reason="not_liked")

    settings, metrics = LoopSettings(dead_letters_max=0), ConsumerMetrics(registry)
    consumer = FakeConsumer(messages("1"))
    loop = ConsumerLoop(consumer, handle, a_parking(dead_letters), clock=clock, settings=settings, metrics=metrics)
    running = await until_it_stops(loop, clock)
    while_it_stands_still = shown()
    await stop(running)

    assert (while_it_works[0], while_it_stands_still, shown()) == (1, 0, None)
