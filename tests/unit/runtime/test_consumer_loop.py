import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from services.runtime.broker.port import LEASE_LOST_REASON, Message, Place, ReceivedMessage
from services.runtime.consumer_lag import LAG_EVERY_SECONDS
from services.runtime.consumer_loop import ConsumerLoop, ConsumerMetrics, LoopSettings
from services.runtime.dead_letters import (
    DISCARDED,
    PARKED_REASON,
    DeadLetter,
    OutstandingLetters,
    redriven,
    settled,
)
from services.runtime.errors import RefusedError, UnavailableError
from services.runtime.letters_watch import LETTERS_EVERY_SECONDS
from services.runtime.parking import Parking
from tests.support.clock import VirtualClock
from tests.support.fake_producer import FakeProducer
from tests.support.letters_reader import LettersReader


class FakeConsumer:
    """Fits the Consumer port: gives out prepared batches, and keeps what is committed."""

    def __init__(self, *batches: list[ReceivedMessage]) -> None:
        self.batches = list(batches)
        self.committed: list[int] = []
        self.poll_failures_left = 0
        self.commit_errors: list[UnavailableError] = []
        self.drained = asyncio.Event()
        self.lags: dict[Place, int] = {}

    async def lag(self) -> Mapping[Place, int]:
        return dict(self.lags)

    async def poll(self, *, messages_max: int, timeout_seconds: float) -> list[ReceivedMessage]:
        assert messages_max > 0
        assert timeout_seconds > 0
        if self.poll_failures_left:
            self.poll_failures_left -= 1
            raise UnavailableError("away")
        if self.batches:
            return self.batches.pop(0)
        self.drained.set()
        await asyncio.Event().wait()
        return []

    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        if self.commit_errors:
            raise self.commit_errors.pop()
        self.committed += [message.offset for message in messages]

    async def close(self) -> None:
        """Nothing to leave."""


class Handler:
    """Keeps what took effect; fails as it is told, and then nothing of the batch takes effect."""

    def __init__(self, *, poison: Sequence[str] = (), error: Exception | None = None, failures: int = 0) -> None:
        self.effects: list[str] = []
        self.calls = 0
        self._poison = set(poison)
        self._error = error or RefusedError("no", reason="not_liked")
        self._failures_left = failures

    def mend(self) -> None:
        """Fail no more."""
        self._poison.clear()

    async def __call__(self, messages: list[ReceivedMessage]) -> None:
        self.calls += 1
        if self._failures_left:
            self._failures_left -= 1
            raise UnavailableError("later", reason="database_busy")
        values = [message.value.decode() for message in messages]
        if self._poison & set(values):
            raise self._error
        self.effects += values


def messages(*values: str, first_offset: int = 0, key: str | None = None) -> list[ReceivedMessage]:
    """Build messages that have keys of their own unless they share one."""
    return [
        ReceivedMessage(
            topic="topic",
            key=(key or value).encode(),
            value=value.encode(),
            headers={"event-id": value},
            partition=0,
            offset=offset,
        )
        for offset, value in enumerate(values, start=first_offset)
    ]


async def run_until_drained(loop: ConsumerLoop, consumer: FakeConsumer, clock: VirtualClock) -> None:
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(30):
        while not consumer.drained.is_set():
            await clock.advance(1)
    await stop(running)


async def stop(running: asyncio.Task[None]) -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def a_loop(
    consumer: FakeConsumer,
    handle: Callable[[list[ReceivedMessage]], Awaitable[None]],
    dead_letters: FakeProducer,
    clock: VirtualClock,
    *,
    dead_letters_max: int = 100,
) -> ConsumerLoop:
    settings = LoopSettings(dead_letters_max=dead_letters_max)
    return ConsumerLoop(consumer, handle, a_parking(dead_letters), clock=clock, settings=settings)


def a_parking(dead_letters: FakeProducer, *, consumer_name: str = "consumer") -> Parking:
    return Parking(dead_letters, LettersReader(dead_letters.log).opened, consumer_name=consumer_name)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def dead_letters() -> FakeProducer:
    return FakeProducer()


def reasons(producer: FakeProducer) -> list[tuple[str, str]]:
    return [(message.value.decode(), message.headers["dlq-reason"]) for message in producer.log]


def waiting(producer: FakeProducer) -> list[DeadLetter]:
    letters = OutstandingLetters()
    for message in producer.log:
        letters.add(message)
    return letters.waiting()


def redriven_messages(*letters: DeadLetter, first_offset: int) -> list[ReceivedMessage]:
    """Give out what redriving publishes."""
    return [
        ReceivedMessage(
            topic=message.topic,
            key=message.key,
            value=message.value,
            headers=message.headers,
            partition=0,
            offset=offset,
        )
        for offset, message in enumerate(map(redriven, letters), start=first_offset)
    ]


async def a_poisoned_key(
    clock: VirtualClock, dead_letters: FakeProducer, *values: str, poison: str = "poison"
) -> list[DeadLetter]:
    """Let a process park messages of the key `k`, the poison first, and die; return its letters."""
    consumer = FakeConsumer(messages(poison, *values, key="k"))
    await run_until_drained(a_loop(consumer, Handler(poison=[poison]), dead_letters, clock), consumer, clock)
    return waiting(dead_letters)


async def test_batches_are_handled_and_then_committed(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    consumer = FakeConsumer(messages("a", "b"), messages("c", first_offset=2))
    handler = Handler()

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == ["a", "b", "c"]
    assert consumer.committed == [0, 1, 2]
    assert handler.calls == 2


async def test_offsets_are_not_committed_before_the_effects(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    consumer = FakeConsumer(messages("a"))
    committed_at_handling: list[list[int]] = []

    async def handle(_: list[ReceivedMessage]) -> None:
        committed_at_handling.append(list(consumer.committed))

    await run_until_drained(a_loop(consumer, handle, dead_letters, clock), consumer, clock)

    assert committed_at_handling == [[]]
    assert consumer.committed == [0]


async def test_what_is_unavailable_is_tried_again_until_it_works(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer = FakeConsumer(messages("a", "b"))
    consumer.poll_failures_left = 2
    handler = Handler(failures=20)
    consumer.commit_errors = [UnavailableError("busy"), UnavailableError("busy")]

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == ["a", "b"]
    assert consumer.committed == [0, 1]
    assert dead_letters.log == []


async def test_a_lost_lease_is_not_insisted_on(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    consumer = FakeConsumer(messages("a"), messages("b", first_offset=1))
    consumer.commit_errors = [UnavailableError("lost", reason=LEASE_LOST_REASON)]
    handler = Handler()

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == ["a", "b"]
    assert consumer.committed == [1]


async def test_a_poison_message_goes_to_the_dead_letters_and_all_others_take_effect(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    values = [str(number) for number in range(100)]
    consumer = FakeConsumer(messages(*values))
    handler = Handler(poison=["37"])

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == [value for value in values if value != "37"]
    assert consumer.committed == list(range(100))
    assert dead_letters.log == [
        Message(
            topic="topic.dlq",
            key=b"37",
            value=b"37",
            headers={
                "event-id": "37",
                "dlq-reason": "not_liked",
                "dlq-topic": "topic",
                "dlq-partition": "0",
                "dlq-offset": "37",
                "dlq-consumer": "consumer",
            },
        )
    ]


async def test_finding_the_poison_takes_few_calls(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    consumer = FakeConsumer(messages(*(str(number) for number in range(512))))
    handler = Handler(poison=["300"])

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.calls <= 2 * 9 + 1


async def test_a_bug_in_the_handler_is_named_in_the_dead_letter(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer = FakeConsumer(messages("a", "bug", "c"))
    handler = Handler(poison=["bug"], error=ZeroDivisionError())

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert reasons(dead_letters) == [("bug", "ZeroDivisionError")]


async def test_later_messages_of_the_same_key_park_behind_the_poison(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    first = [*messages("a", "poison", "b", key="k"), *messages("other", first_offset=3)]
    consumer = FakeConsumer(first, messages("c", key="k", first_offset=4), messages("another", first_offset=5))
    handler = Handler(poison=["poison"])

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == ["a", "other", "another"]
    assert reasons(dead_letters) == [("poison", "not_liked"), ("b", PARKED_REASON), ("c", PARKED_REASON)]
    assert consumer.committed == [0, 1, 2, 3, 4, 5]


async def test_dead_letters_wait_for_a_broker_that_is_away(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    consumer = FakeConsumer(messages("poison"))
    dead_letters.publishes_left = 0

    await run_until_drained(a_loop(consumer, Handler(poison=["poison"]), dead_letters, clock), consumer, clock)

    assert reasons(dead_letters) == [("poison", "not_liked")]
    assert consumer.committed == [0]


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


async def test_cancelling_while_handling_commits_nothing(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    consumer = FakeConsumer(messages("a"))
    began = asyncio.Event()

    async def handle(_: list[ReceivedMessage]) -> None:
        began.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(a_loop(consumer, handle, dead_letters, clock).run())
    await began.wait()
    await stop(running)

    assert consumer.committed == []
    assert dead_letters.log == []


async def test_what_happens_is_counted(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    registry = CollectorRegistry()
    consumer = FakeConsumer(messages("a", "poison", "b"))
    consumer.poll_failures_left = 3
    loop = ConsumerLoop(
        consumer,
        Handler(poison=["poison"]),
        a_parking(dead_letters),
        clock=clock,
        metrics=ConsumerMetrics(registry),
    )

    await run_until_drained(loop, consumer, clock)

    labels = {"consumer": "consumer"}
    assert registry.get_sample_value("tradeflow_consumer_handled_total", labels) == 2
    assert registry.get_sample_value("tradeflow_consumer_retries_total", labels) == 3
    letters = registry.get_sample_value("tradeflow_consumer_dead_letters_total", {**labels, "reason": "not_liked"})
    assert letters == 1


async def test_the_letters_that_wait_are_shown_while_a_loop_runs_also_where_no_message_comes(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    registry = CollectorRegistry()
    parking = a_parking(dead_letters)
    consumer = FakeConsumer(messages("poison", "b", key="k"))
    metrics = ConsumerMetrics(registry)
    loop = ConsumerLoop(consumer, Handler(poison=["poison"]), parking, clock=clock, metrics=metrics)

    def shown() -> float | None:
        return registry.get_sample_value("tradeflow_consumer_dead_letters_waiting", {"consumer": "consumer"})

    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(30):
        await consumer.drained.wait()
    before = shown()
    dead_letters.log += [settled(letter, DISCARDED) for letter in waiting(dead_letters)]
    await clock.advance(LETTERS_EVERY_SECONDS)
    discarded = shown()
    await stop(running)

    assert (before, discarded, parking.count) == (2, 0, 0)
    assert shown() is None, "others handle them from now on, or nobody"


async def test_letters_of_the_last_process_are_shown_before_any_message_comes(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    await a_poisoned_key(clock, dead_letters)
    registry = CollectorRegistry()
    metrics = ConsumerMetrics(registry)
    loop = ConsumerLoop(FakeConsumer(), Handler(), a_parking(dead_letters), clock=clock, metrics=metrics)

    running = asyncio.create_task(loop.run())
    await clock.advance(0.1)
    shown = registry.get_sample_value("tradeflow_consumer_dead_letters_waiting", {"consumer": "consumer"})
    await stop(running)

    assert shown == 1


async def test_a_letter_that_is_discarded_as_soon_as_it_is_there_does_not_wait(dead_letters: FakeProducer) -> None:
    parking = a_parking(dead_letters)
    (poison,) = messages("poison")

    putting_aside = asyncio.create_task(parking.put_aside(poison, "not_liked"))
    await asyncio.sleep(0)
    dead_letters.log += [settled(letter, DISCARDED) for letter in waiting(dead_letters)]
    await parking.catch_up()
    await putting_aside

    assert len(dead_letters.log) == 2
    assert parking.count == 0


async def test_a_key_stays_parked_past_a_restart(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    await a_poisoned_key(clock, dead_letters, "b")
    consumer = FakeConsumer([*messages("c", key="k", first_offset=2), *messages("other", first_offset=3)])
    handler = Handler()

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == ["other"]
    assert [value for value, _ in reasons(dead_letters)] == ["poison", "b", "c"]


async def test_a_key_that_another_process_of_the_group_parked_meanwhile_is_parked_here_too(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    handler = Handler()
    consumer = FakeConsumer(messages("a", key="k"))
    loop = a_loop(consumer, handler, dead_letters, clock)
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(30):
        await consumer.drained.wait()
    await a_poisoned_key(clock, dead_letters)
    second = FakeConsumer(messages("b", key="k", first_offset=2))
    loop._consumer = second  # the partition was elsewhere and came back: offset 1 went to another process

    await stop(running)
    await run_until_drained(loop, second, clock)

    assert handler.effects == ["a"]
    assert reasons(dead_letters)[-1] == ("b", PARKED_REASON)


async def test_letters_of_another_consumer_of_the_topic_park_nothing_here(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    await a_poisoned_key(clock, dead_letters)
    consumer = FakeConsumer(messages("a", key="k", first_offset=1))
    handler = Handler()
    loop = ConsumerLoop(consumer, handler, a_parking(dead_letters, consumer_name="another"), clock=clock)

    await run_until_drained(loop, consumer, clock)

    assert handler.effects == ["a"]


async def test_redriven_letters_take_effect_in_order_and_let_their_key_go_on(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    letters = await a_poisoned_key(clock, dead_letters, "b")
    consumer = FakeConsumer([*redriven_messages(*letters, first_offset=2), *messages("c", key="k", first_offset=4)])
    handler = Handler()

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == ["poison", "b", "c"]
    assert waiting(dead_letters) == []
    assert consumer.committed == [2, 3, 4]


async def test_a_redriven_letter_that_fails_again_stays_and_so_do_those_behind_it(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    letters = await a_poisoned_key(clock, dead_letters, "b")
    consumer = FakeConsumer(redriven_messages(*letters, first_offset=2))
    handler = Handler(poison=["poison"])

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == []
    assert waiting(dead_letters) == letters
    assert consumer.committed == [2, 3]


async def test_a_redriven_letter_never_overtakes_an_older_one_of_its_key(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    letters = await a_poisoned_key(clock, dead_letters, "b")
    consumer = FakeConsumer(redriven_messages(letters[1], first_offset=2))
    handler = Handler()

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == []
    assert waiting(dead_letters) == letters


async def test_a_letter_that_is_redriven_twice_takes_effect_once(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    letters = await a_poisoned_key(clock, dead_letters)
    consumer = FakeConsumer(redriven_messages(*letters, *letters, first_offset=1))
    handler = Handler()

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == ["poison"]


async def test_a_redriven_letter_waits_for_a_database_that_is_away(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    letters = await a_poisoned_key(clock, dead_letters)
    consumer = FakeConsumer(redriven_messages(*letters, first_offset=1))
    handler = Handler(failures=3)

    await run_until_drained(a_loop(consumer, handler, dead_letters, clock), consumer, clock)

    assert handler.effects == ["poison"]
    assert waiting(dead_letters) == []


async def test_what_was_redriven_for_another_consumer_is_an_ordinary_message_here(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    letters = await a_poisoned_key(clock, dead_letters)
    consumer = FakeConsumer(redriven_messages(*letters, first_offset=1))
    handler = Handler()
    loop = ConsumerLoop(consumer, handler, a_parking(dead_letters, consumer_name="another"), clock=clock)

    await run_until_drained(loop, consumer, clock)

    assert handler.effects == ["poison"]
    assert waiting(dead_letters) == letters


async def test_a_key_goes_on_at_once_when_its_letters_were_discarded(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    handler = Handler(poison=["poison"])
    consumer = FakeConsumer(messages("poison", key="k"))
    loop = a_loop(consumer, handler, dead_letters, clock)
    await run_until_drained(loop, consumer, clock)
    dead_letters.log += [settled(letter, DISCARDED) for letter in waiting(dead_letters)]
    consumer.batches.append(messages("b", key="k", first_offset=1))
    consumer.drained.clear()

    await run_until_drained(loop, consumer, clock)

    assert handler.effects == ["b"]


async def test_a_dead_letter_whose_offset_was_not_committed_is_written_once(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    await a_poisoned_key(clock, dead_letters)
    again = FakeConsumer(messages("poison", key="k"))

    await run_until_drained(a_loop(again, Handler(poison=["poison"]), dead_letters, clock), again, clock)

    assert reasons(dead_letters) == [("poison", "not_liked")]
    assert again.committed == [0]


async def test_nothing_is_handled_before_the_dead_letters_are_read(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    await a_poisoned_key(clock, dead_letters)
    reader = LettersReader(dead_letters.log)
    reader.failures_left = 5
    consumer = FakeConsumer(messages("b", key="k", first_offset=1))
    handler = Handler()
    parking = Parking(dead_letters, reader.opened, consumer_name="consumer")

    await run_until_drained(ConsumerLoop(consumer, handler, parking, clock=clock), consumer, clock)

    assert handler.effects == []
    assert reasons(dead_letters)[-1] == ("b", PARKED_REASON)


async def test_the_lag_is_shown_while_the_handler_is_stuck(clock: VirtualClock, dead_letters: FakeProducer) -> None:
    registry = CollectorRegistry()
    consumer = FakeConsumer(messages("a"))
    consumer.lags = {("topic", 0): 7, ("topic", 1): 0}
    began = asyncio.Event()

    async def handle(_: list[ReceivedMessage]) -> None:
        began.set()
        await asyncio.Event().wait()

    metrics = ConsumerMetrics(registry)
    loop = ConsumerLoop(consumer, handle, a_parking(dead_letters), clock=clock, metrics=metrics)
    running = asyncio.create_task(loop.run())
    await began.wait()
    consumer.lags = {("topic", 0): 9}
    await clock.advance(LAG_EVERY_SECONDS)

    shown = {
        partition: registry.get_sample_value(
            "tradeflow_consumer_lag_messages", {"consumer": "consumer", "topic": "topic", "partition": partition}
        )
        for partition in ("0", "1")
    }
    await stop(running)

    assert shown == {"0": 9, "1": None}


async def test_the_lag_is_shown_while_a_loop_runs_and_no_longer(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    registry = CollectorRegistry()
    consumer = FakeConsumer()
    metrics = ConsumerMetrics(registry)
    loop = ConsumerLoop(consumer, Handler(), a_parking(dead_letters), clock=clock, metrics=metrics)

    def shown() -> dict[str, float]:
        gauge = next(metric for metric in registry.collect() if metric.name == "tradeflow_consumer_lag_messages")
        return {sample.labels["partition"]: sample.value for sample in gauge.samples}

    for lags in ({("topic", 0): 7, ("topic", 1): 20_000}, {("topic", 0): 9}):
        consumer.lags = lags
        running = asyncio.create_task(loop.run())
        await clock.advance(0.1)
        assert shown() == {str(partition): messages for (_, partition), messages in lags.items()}
        await stop(running)
        assert shown() == {}, "others read them from now on, or nobody"


class ForgetfulReader(LettersReader):
    """Fits the Consumer port: crashes at its first question."""

    def __init__(self, log: list[Message]) -> None:
        super().__init__(log)
        self.crashes_left = 1

    async def lag(self) -> Mapping[Place, int]:
        if self.crashes_left:
            self.crashes_left -= 1
            raise RuntimeError("a bug")
        return await super().lag()


async def test_a_run_that_crashed_leaves_what_it_had_in_hand_to_the_next(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer, handler = FakeConsumer(messages("a", "b"), messages("c", first_offset=2)), Handler()
    parking = Parking(dead_letters, ForgetfulReader(dead_letters.log).opened, consumer_name="consumer")
    loop = ConsumerLoop(consumer, handler, parking, clock=clock)

    with pytest.raises(RuntimeError):
        await loop.run()
    await run_until_drained(loop, consumer, clock)

    assert handler.effects == ["a", "b", "c"]
    assert consumer.committed == [0, 1, 2]
