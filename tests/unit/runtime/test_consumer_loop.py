import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from services.runtime.broker.port import LEASE_LOST_REASON, Message, ReceivedMessage
from services.runtime.consumer_loop import PARKED_REASON, ConsumerLoop, ConsumerMetrics, LoopSettings
from services.runtime.errors import RefusedError, UnavailableError
from tests.support.clock import VirtualClock
from tests.support.fake_producer import FakeProducer


class FakeConsumer:
    """Fits the Consumer port: gives out prepared batches, and keeps what is committed."""

    def __init__(self, *batches: list[ReceivedMessage]) -> None:
        self.batches = list(batches)
        self.committed: list[int] = []
        self.poll_failures_left = 0
        self.commit_errors: list[UnavailableError] = []
        self.drained = asyncio.Event()

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
    async with asyncio.timeout(5):
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
    return ConsumerLoop(consumer, handle, dead_letters, name="consumer", clock=clock, settings=settings)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def dead_letters() -> FakeProducer:
    return FakeProducer()


def reasons(producer: FakeProducer) -> list[tuple[str, str]]:
    return [(message.value.decode(), message.headers["dlq-reason"]) for message in producer.log]


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


async def test_over_the_limit_of_dead_letters_it_stops_unhealthy_and_commits_nothing_more(
    clock: VirtualClock, dead_letters: FakeProducer
) -> None:
    consumer = FakeConsumer(messages("1"), messages("2", "3", "4", first_offset=1), messages("5", first_offset=4))
    loop = a_loop(consumer, Handler(poison=["1", "2", "3", "4"]), dead_letters, clock, dead_letters_max=3)
    healthy_before = loop.healthy

    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(5):
        while loop.healthy:
            await clock.advance(1)
    await clock.advance(600)

    assert healthy_before
    assert not running.done()
    assert [value for value, _ in reasons(dead_letters)] == ["1", "2", "3"]
    assert consumer.committed == [0]
    assert len(consumer.batches) == 1
    await stop(running)


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
        dead_letters,
        name="consumer",
        clock=clock,
        metrics=ConsumerMetrics(registry),
    )

    await run_until_drained(loop, consumer, clock)

    labels = {"consumer": "consumer"}
    assert registry.get_sample_value("tradeflow_consumer_handled_total", labels) == 2
    assert registry.get_sample_value("tradeflow_consumer_retries_total", labels) == 3
    assert registry.get_sample_value("tradeflow_consumer_healthy", labels) == 1
    letters = registry.get_sample_value("tradeflow_consumer_dead_letters_total", {**labels, "reason": "not_liked"})
    assert letters == 1
