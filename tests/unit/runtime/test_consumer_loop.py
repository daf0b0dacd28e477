"""What a consumer's loop does with messages: effects before offsets, one key in order, what can't be done apart."""

import asyncio
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from services.runtime.broker.port import LEASE_LOST_REASON, Message, Place, ReceivedMessage
from services.runtime.consumer_lag import LAG_EVERY_SECONDS
from services.runtime.consumer_loop import ConsumerLoop, ConsumerMetrics
from services.runtime.dead_letters import (
    DISCARDED,
    PARKED_REASON,
    settled,
)
from services.runtime.errors import UnavailableError
from services.runtime.letters_watch import LETTERS_EVERY_SECONDS
from services.runtime.parking import Parking
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
from tests.support.letters_reader import LettersReader


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def dead_letters() -> FakeProducer:
    return FakeProducer()


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
