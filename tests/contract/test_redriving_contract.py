"""Dead letters by hand, on every broker: read, chosen, redriven in order, discarded, and never in effect twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Broker, Message, ReceivedMessage
from services.runtime.consumer_loop import ConsumerLoop
from services.runtime.dead_letters import DeadLetter, Origin
from services.runtime.errors import InvalidArgumentError
from services.runtime.parking import Parking
from services.runtime.redriving import LetterFilter, discard, redrive, to_redrive, waiting_letters
from tests.parts.kafka_topics import make_topics

TOPIC, GROUP = "things", "readers"
LETTERS_TOPIC = f"{TOPIC}{DEAD_LETTERS_SUFFIX}"

SECONDS_MAX = 40.0
"""How long anything awaited may take: Kafka gives a group its partitions after seconds, a busy one later."""


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.part("kafka"))])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/broker.db"
    url: str = request.getfixturevalue("kafka_url")
    make_topics(url, [TOPIC, LETTERS_TOPIC])
    return url


@pytest.fixture
async def broker(broker_url: str) -> AsyncIterator[Broker]:
    broker = open_broker(broker_url)
    await broker.ensure_topics([TOPIC, LETTERS_TOPIC])
    yield broker
    await broker.close()


class Reader:
    """A consumer that refuses some values until it is mended."""

    def __init__(self, *refuses: str) -> None:
        self.refuses = set(refuses)
        self.handled: list[str] = []

    async def handle(self, messages: list[ReceivedMessage]) -> None:
        values = [message.value.decode() for message in messages]
        if self.refuses & set(values):
            raise InvalidArgumentError("It can't be read.", reason="unreadable")
        self.handled += values


@asynccontextmanager
async def reading(broker: Broker, reader: Reader) -> AsyncIterator[None]:
    letters = partial(broker.replaying_consumer, topics=[LETTERS_TOPIC])
    consumer = broker.group_consumer(group=GROUP, topics=[TOPIC])
    loop = ConsumerLoop(consumer, reader.handle, Parking(broker.producer(), letters, consumer_name=GROUP))
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.close()


async def publish(broker: Broker, *values: str) -> None:
    """Publish values whose first letter is their key."""
    await broker.producer().publish(
        [
            Message(topic=TOPIC, key=value[0].encode(), value=value.encode(), headers={"event-id": value})
            for value in values
        ]
    )


async def until_waiting(broker: Broker, is_right: Callable[[list[str]], bool]) -> list[DeadLetter]:
    give_up_at = time.monotonic() + SECONDS_MAX
    while True:
        letters = await waiting_letters(broker, [TOPIC])
        if is_right(values_of(letters)):
            return letters
        assert time.monotonic() < give_up_at, values_of(letters)
        await asyncio.sleep(0.05)


def values_of(letters: list[DeadLetter]) -> list[str]:
    return [letter.value.decode() for letter in letters]


@pytest.mark.timeout(180)
async def test_letters_are_redriven_in_their_order_and_take_effect_once(broker: Broker) -> None:
    reader = Reader("a1")
    async with reading(broker, reader):
        await publish(broker, "a1", "b1", "a2", "a3", "b2")
        letters = await until_waiting(broker, lambda values: values == ["a1", "a2", "a3"])
        chosen = to_redrive(letters, LetterFilter(origin=letters[1].origin), letters_max=None)

        await redrive(chosen, broker.producer())
        await publish(broker, "a4")
        in_vain = await until_waiting(broker, lambda values: values == ["a1", "a2", "a3", "a4"])
        reader.refuses.clear()
        for _ in range(3):
            await redrive(to_redrive(in_vain, LetterFilter(), letters_max=None), broker.producer())
        await until_waiting(broker, lambda values: values == [])
        await publish(broker, "a5")
        give_up_at = time.monotonic() + SECONDS_MAX
        while "a5" not in reader.handled:
            assert time.monotonic() < give_up_at
            await asyncio.sleep(0.05)

    assert [letter.reason for letter in letters] == ["unreadable", "parked", "parked"]
    assert values_of(chosen) == ["a1", "a2"]
    assert [value for value in reader.handled if value.startswith("a")] == ["a1", "a2", "a3", "a4", "a5"]
    assert [value for value in reader.handled if value.startswith("b")] == ["b1", "b2"]


@pytest.mark.timeout(180)
async def test_a_letter_that_is_given_up_lets_the_others_of_its_key_go_on(broker: Broker) -> None:
    reader = Reader("a1")
    async with reading(broker, reader):
        await publish(broker, "a1", "a2")
        letters = await until_waiting(broker, lambda values: values == ["a1", "a2"])

        await discard(letters[:1], broker.producer())
        rest = await waiting_letters(broker, [TOPIC])
        await redrive(rest, broker.producer())
        await until_waiting(broker, lambda values: values == [])

    assert values_of(rest) == ["a2"]
    assert reader.handled == ["a2"]


def test_a_filter_picks_letters_and_the_older_ones_of_their_keys_come_along() -> None:
    letters = [a_letter("a", 1, "bad"), a_letter("a", 3, "parked"), a_letter("a", 4, "parked"), a_letter("b", 2, "bad")]

    parked = to_redrive(letters, LetterFilter(reason="parked"), letters_max=1)
    of_key = to_redrive(letters, LetterFilter(key=b"b"), letters_max=None)
    of_others = to_redrive(letters, LetterFilter(consumer="others"), letters_max=None)

    assert parked == letters[:2]
    assert of_key == letters[3:]
    assert of_others == []


def a_letter(key: str, offset: int, reason: str) -> DeadLetter:
    origin = Origin(topic=TOPIC, partition=0, offset=offset, consumer=GROUP)
    return DeadLetter(origin=origin, reason=reason, key=key.encode(), value=b"v", headers={})
