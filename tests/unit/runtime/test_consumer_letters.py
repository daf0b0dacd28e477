"""Dead letters that wait: keys that stay parked, and what becomes of them when their letters are read again."""

import asyncio

import pytest

from services.runtime.consumer_loop import ConsumerLoop
from services.runtime.dead_letters import (
    DISCARDED,
    PARKED_REASON,
    settled,
)
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
    redriven_messages,
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
