"""A consumer that is there only while it works, whichever broker it reads."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from services.runtime.broker.port import Broker, Consumer, Message, ReceivedMessage
from services.runtime.consumer_loop import ConsumerLoop, LoopSettings
from services.runtime.errors import RefusedError
from services.runtime.parking import Parking
from services.runtime.temporary_consumer import TemporaryConsumer
from tests.support.brokers import BROKERS, opened_broker
from tests.support.waiting import eventually

TOPIC, LETTERS, GROUP = "things", "things.dlq", "shop"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=BROKERS)
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    async with opened_broker(request, tmp_path, [TOPIC, LETTERS]) as broker:
        yield broker


class Reader:
    """One process of the group, which may be at work again and again."""

    def __init__(self, broker: Broker, *, disliked: str = "", dead_letters_max: int = 1) -> None:
        self.read: list[str] = []
        self.disliked = disliked
        self._settings = LoopSettings(poll_seconds=0.1, dead_letters_max=dead_letters_max)
        self._broker = broker
        self.consumer = TemporaryConsumer(partial(broker.group_consumer, group=GROUP, topics=[TOPIC]), self._loop_on)

    def _loop_on(self, consumer: Consumer) -> ConsumerLoop:
        self._current = consumer
        letters = partial(self._broker.replaying_consumer, topics=[LETTERS])
        parking = Parking(self._broker.producer(), letters, consumer_name=GROUP)
        return ConsumerLoop(consumer, self._handle, parking, settings=self._settings)

    async def _handle(self, messages: list[ReceivedMessage]) -> None:
        values = [message.value.decode() for message in messages]
        if self.disliked in values:
            raise RefusedError("no", reason="disliked")
        self.read += values

    async def is_through(self, values: Sequence[str]) -> bool:
        """Tell whether it has read these, and committed so: what isn't committed is read again by the next."""
        return set(values) <= set(self.read) and not any((await self._current.lag()).values())

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.consumer.run())
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def publish(broker: Broker, *values: str) -> None:
    await broker.producer().publish(
        [Message(topic=TOPIC, key=value.encode(), value=value.encode()) for value in values]
    )


async def test_one_that_ended_leaves_all_partitions_to_the_next_which_goes_on_behind_it(broker: Broker) -> None:
    first, second = Reader(broker), Reader(broker)
    for reader, values in ((first, ["a", "b", "c"]), (second, ["d", "e", "f"]), (first, ["g", "h", "i"])):
        async with reader.at_work():
            await publish(broker, *values)
            await eventually(partial(reader.is_through, values))

    assert (sorted(first.read), sorted(second.read)) == (list("abcghi"), list("def"))


async def test_one_that_stopped_over_its_dead_letters_begins_anew_with_the_next_run(broker: Broker) -> None:
    reader = Reader(broker, disliked="bad", dead_letters_max=0)
    async with reader.at_work():
        await publish(broker, "bad")
        await eventually(lambda: not reader.consumer.healthy)

    healthy_meanwhile = reader.consumer.healthy
    reader.disliked = ""
    async with reader.at_work():
        await publish(broker, "good")
        await eventually(partial(reader.is_through, ["bad", "good"]))

    assert healthy_meanwhile, "who isn't at work stands in nobody's way"
