"""Keys stay parked, and letters are redriven in order, whichever broker holds them and whoever reads them next."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from services.runtime.broker.port import Broker, Message, ReceivedMessage
from services.runtime.consumer_loop import ConsumerLoop, LoopSettings
from services.runtime.dead_letters import DISCARDED, DeadLetter, OutstandingLetters, redriven, settled
from services.runtime.errors import RefusedError
from services.runtime.parking import Parking
from tests.support.brokers import BROKERS, opened_broker
from tests.support.waiting import eventually

TOPIC, LETTERS, NAME = "things", "things.dlq", "shop"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=BROKERS)
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    async with opened_broker(request, tmp_path, [TOPIC, LETTERS]) as broker:
        yield broker


@dataclass
class Shop:
    """Handles messages, but for those it doesn't like."""

    disliked: set[str] = field(default_factory=set)
    effects: list[str] = field(default_factory=list)

    async def handle(self, messages: list[ReceivedMessage]) -> None:
        values = [message.value.decode() for message in messages]
        if self.disliked & set(values):
            raise RefusedError("no", reason="disliked")
        self.effects += values


@asynccontextmanager
async def at_work(broker: Broker, shop: Shop) -> AsyncIterator[None]:
    """Run a process of the group during the body; it leaves the group at the end."""
    consumer = broker.group_consumer(group=NAME, topics=[TOPIC])
    parking = Parking(broker.producer(), partial(broker.replaying_consumer, topics=[LETTERS]), consumer_name=NAME)
    loop = ConsumerLoop(consumer, shop.handle, parking, settings=LoopSettings(poll_seconds=0.1))
    running = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await consumer.close()


async def publish(broker: Broker, *values: str) -> None:
    """Publish messages whose key is what comes before the dash."""
    messages = [Message(topic=TOPIC, key=value.partition("-")[0].encode(), value=value.encode()) for value in values]
    await broker.producer().publish(messages)


async def letters_of(broker: Broker) -> list[DeadLetter]:
    """Read what waits, as anybody may."""
    letters = OutstandingLetters()
    reader = await broker.replaying_consumer(topics=[LETTERS])
    while any((await reader.lag()).values()):
        for message in await reader.poll(messages_max=100, timeout_seconds=1):
            letters.add(message)
    await reader.close()
    return letters.waiting()


async def values_that_wait(broker: Broker) -> list[str]:
    return [letter.value.decode() for letter in await letters_of(broker)]


async def wait_for_letters(broker: Broker, *values: str) -> None:
    async def there() -> bool:
        return await values_that_wait(broker) == list(values)

    await eventually(there, seconds_max=60)


async def test_a_key_is_parked_past_restarts_until_its_letters_were_redriven_in_order(broker: Broker) -> None:
    shop = Shop(disliked={"a-1"})
    async with at_work(broker, shop):
        await publish(broker, "a-1", "b-1")
        await wait_for_letters(broker, "a-1")
    async with at_work(broker, shop):
        await publish(broker, "a-2", "b-2")
        await wait_for_letters(broker, "a-1", "a-2")
        await eventually(lambda: "b-2" in shop.effects, seconds_max=60)
    shop.disliked.clear()

    async with at_work(broker, shop):
        await broker.producer().publish([redriven(letter) for letter in await letters_of(broker)])
        await publish(broker, "a-3")
        await eventually(lambda: "a-3" in shop.effects, seconds_max=60)

    assert [effect for effect in shop.effects if effect.startswith("a")] == ["a-1", "a-2", "a-3"]
    assert sorted(effect for effect in shop.effects if effect.startswith("b")) == ["b-1", "b-2"]
    assert await values_that_wait(broker) == []


async def test_what_is_redriven_and_fails_again_waits_on_at_its_place(broker: Broker) -> None:
    shop = Shop(disliked={"a-1"})
    async with at_work(broker, shop):
        await publish(broker, "a-1", "a-2")
        await wait_for_letters(broker, "a-1", "a-2")
        await broker.producer().publish([redriven(letter) for letter in await letters_of(broker)])
        await publish(broker, "b-1", "a-3")
        await wait_for_letters(broker, "a-1", "a-2", "a-3")

    assert shop.effects in ([], ["b-1"])


async def test_a_discarded_letter_lets_its_key_go_on_in_a_process_that_is_at_work(broker: Broker) -> None:
    shop = Shop(disliked={"a-1"})
    async with at_work(broker, shop):
        await publish(broker, "a-1")
        await wait_for_letters(broker, "a-1")
        await broker.producer().publish([settled(letter, DISCARDED) for letter in await letters_of(broker)])

        await publish(broker, "a-2")

        await eventually(lambda: shop.effects == ["a-2"], seconds_max=60)
    assert await values_that_wait(broker) == []
