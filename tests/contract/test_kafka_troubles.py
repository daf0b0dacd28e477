"""What Kafka's adapter does when the cluster or its own service is slow or away."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import groupby

import psutil
import pytest

from services.runtime.broker.kafka import KafkaBroker
from services.runtime.broker.port import Consumer, Message, Producer, ReceivedMessage
from services.runtime.errors import UnavailableError
from tests.parts.kafka_topics import make_topics
from tests.parts.server import Server
from tests.support.waiting import eventually

pytestmark = [pytest.mark.part("kafka"), pytest.mark.timeout(300)]

TOPIC = "things"

UNPOLLED_SECONDS_MAX = 6.0
"""The least that a cluster takes for a session, and librdkafka for the time between two polls."""


@pytest.fixture
async def broker(kafka_url: str) -> AsyncIterator[KafkaBroker]:
    make_topics(kafka_url, [TOPIC])
    broker = KafkaBroker(kafka_url, unpolled_seconds_max=UNPOLLED_SECONDS_MAX)
    yield broker
    await broker.close()


def messages(count: int, *, first: int = 0, size_bytes: int = 0) -> list[Message]:
    return [
        Message(topic=TOPIC, key=f"key-{number % 7}".encode(), value=f"{number}:".encode() + os.urandom(size_bytes))
        for number in range(first, first + count)
    ]


def number_of(message: Message) -> int:
    return int(message.value.partition(b":")[0])


async def handled(consumer: Consumer, count: int) -> AsyncIterator[ReceivedMessage]:
    """Read and commit so many messages."""
    left = count
    while left:
        batch = await consumer.poll(messages_max=left, timeout_seconds=1)
        await consumer.commit(batch)
        left -= len(batch)
        for message in batch:
            yield message


async def test_a_consumer_that_handles_for_long_keeps_its_place_and_what_it_had(
    broker: KafkaBroker, kafka_url: str
) -> None:
    await broker.producer().publish(messages(100))
    slow = broker.group_consumer(group="g", topics=[TOPIC])
    in_hand: list[ReceivedMessage] = []
    while not in_hand:
        in_hand = await slow.poll(messages_max=10, timeout_seconds=1)
    other_broker = KafkaBroker(kafka_url)
    other = other_broker.group_consumer(group="g", topics=[TOPIC])

    # The handler works for three times as long as the group waits for a member that doesn't poll.
    handled_at = time.monotonic() + 3 * UNPOLLED_SECONDS_MAX
    while time.monotonic() < handled_at:
        assert await other.poll(messages_max=1, timeout_seconds=1) == []

    await slow.commit(in_hand)
    read = list(in_hand)
    while len(read) < 100:
        read += await slow.poll(messages_max=50, timeout_seconds=1)
    assert [number_of(message) for message in read] == list(range(100))
    await other_broker.close()


async def test_a_partition_that_left_a_slow_consumer_and_comes_back_is_read_on(
    kafka_url: str,
) -> None:
    make_topics(kafka_url, [TOPIC], partitions=3)
    broker = KafkaBroker(kafka_url, unpolled_seconds_max=UNPOLLED_SECONDS_MAX)
    other_broker = KafkaBroker(kafka_url)
    publisher = broker.producer()
    await publisher.publish(messages(60))
    slow = broker.group_consumer(group="g", topics=[TOPIC])
    seen = {number_of(message) async for message in handled(slow, 60)}
    other = other_broker.group_consumer(group="g", topics=[TOPIC])

    # The slow one has its last batch in hand, with all partitions paused, while some of them go.
    others: list[ReceivedMessage] = []
    async with asyncio.timeout(60):
        while not others:
            await publisher.publish(messages(7, first=60))
            others = await other.poll(messages_max=100, timeout_seconds=0.2)
    await slow.poll(messages_max=100, timeout_seconds=0.2)
    await other.close()
    await publisher.publish(messages(40, first=1_000))
    async with asyncio.timeout(60):
        while not seen >= set(range(1_000, 1_040)):
            seen |= {number_of(message) for message in await slow.poll(messages_max=100, timeout_seconds=1)}
    await other_broker.close()
    await broker.close()


async def test_a_slow_consumer_holds_little_of_a_long_backlog(broker: KafkaBroker, kafka_url: str) -> None:
    publisher = KafkaBroker(kafka_url)
    for _ in range(16):
        await publisher.producer().publish(messages(80, size_bytes=100_000))
    await publisher.close()
    gc.collect()
    process = psutil.Process()
    before_bytes = process.memory_info().rss
    slow = broker.group_consumer(group="g", topics=[TOPIC])
    in_hand: list[ReceivedMessage] = []
    while not in_hand:
        in_hand = await slow.poll(messages_max=1, timeout_seconds=1)

    grown = 0
    watched_until = time.monotonic() + 8
    while time.monotonic() < watched_until:
        grown = max(grown, process.memory_info().rss - before_bytes)
        await asyncio.sleep(0.1)

    assert await slow.lag() == {(TOPIC, 0): 16 * 80}
    # The backlog is 128 MB; 16 MiB and a fetch under way are held.
    assert grown < 64 * 1024 * 1024


async def publish_again_and_again(producer: Producer, batch: list[Message]) -> None:
    """Publish as the outbox's relay does: all of it again until all of it is durable."""
    while True:
        with suppress(UnavailableError):
            await producer.publish(batch)
            return


async def consume(broker: KafkaBroker, seen: list[int]) -> None:
    consumer = broker.group_consumer(group="g", topics=[TOPIC])
    while True:
        with suppress(UnavailableError):
            got = await consumer.poll(messages_max=100, timeout_seconds=1)
            seen.extend(number_of(message) for message in got)
            await consumer.commit(got)


async def numbers_in_the_log(broker: KafkaBroker) -> set[int]:
    """Read all that is kept, past any group."""
    reader, numbers = await broker.replaying_consumer(topics=[TOPIC]), set[int]()
    while any((await reader.lag()).values()):
        numbers |= {number_of(message) for message in await reader.poll(messages_max=500, timeout_seconds=1)}
    return numbers


@pytest.mark.parametrize(
    "away_seconds", [pytest.param(10.0, id="10s"), pytest.param(60.0, id="60s", marks=pytest.mark.soak)]
)
async def test_a_broker_that_is_gone_for_a_while_loses_nothing_and_keeps_the_order(
    private_server: Callable[..., Server], away_seconds: float
) -> None:
    server = private_server("kafka", ())
    url = server.start()
    make_topics(url, [TOPIC], partitions=3)
    broker = KafkaBroker(url)
    seen: list[int] = []
    consuming = asyncio.create_task(consume(broker, seen))
    published = 0

    async def publish_until(seconds: float) -> None:
        nonlocal published
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await publish_again_and_again(broker.producer(), messages(20, first=published))
            published += 20

    await publish_until(2)
    publishing = asyncio.create_task(publish_until(away_seconds + 5))
    server.kill()
    await asyncio.sleep(away_seconds)
    before = published
    await asyncio.to_thread(server.start)
    await publishing
    with suppress(AssertionError):
        await eventually(lambda: len(set(seen)) == published or consuming.done(), seconds_max=120)
    consuming.cancel()
    (ended,) = await asyncio.gather(consuming, return_exceptions=True)
    kept = await numbers_in_the_log(broker)
    await broker.close()

    assert isinstance(ended, asyncio.CancelledError)
    assert sorted(kept) == list(range(published)), "what was published is not in the log"
    assert sorted(set(seen)) == list(range(published)), "the group didn't get what is in the log"
    assert published > before
    firsts = sorted(dict.fromkeys(seen), key=lambda number: number % 7)
    for _, of_key in groupby(firsts, key=lambda number: number % 7):
        numbers = list(of_key)
        assert numbers == sorted(numbers)


class HandedOverSlowly(list[Message]):
    """Messages of a busy process: their thread waits for its turn before each of them."""

    def __iter__(self) -> Iterator[Message]:
        for message in super().__iter__():
            time.sleep(0.005)
            yield message


@pytest.mark.parametrize("away_seconds", [4.2, 5.0])
async def test_no_message_overtakes_one_that_was_given_up(
    private_server: Callable[..., Server], away_seconds: float
) -> None:
    server = private_server("kafka", ())
    url = server.start()
    make_topics(url, [TOPIC])
    broker = KafkaBroker(url, delivery_seconds_max=3)
    await broker.producer().publish(messages(1))
    server.pause()
    publishing = asyncio.create_task(broker.producer().publish(HandedOverSlowly(messages(400, first=1))))
    await asyncio.sleep(away_seconds)  # by librdkafka's limit of each message the time of the first ones is over
    server.resume()

    with suppress(UnavailableError):  # a very busy machine hands the last ones over when the broker is back
        await publishing
    await broker.producer().publish(messages(400, first=1))

    consumer = broker.group_consumer(group="g", topics=[TOPIC])
    seen: list[int] = []
    async with asyncio.timeout(30):
        while len(set(seen)) < 401:
            seen += [number_of(message) for message in await consumer.poll(messages_max=500, timeout_seconds=1)]
    await broker.close()
    assert list(dict.fromkeys(seen)) == list(range(401))


ENDED_SECONDS_MAX = 12.0
"""How long a broker that is away may hold up the end of a process, which has 20 s for all of it."""


async def test_a_broker_that_is_gone_holds_up_no_end(private_server: Callable[..., Server]) -> None:
    server = private_server("kafka", ())
    url = server.start()
    make_topics(url, [TOPIC], partitions=3)
    broker = KafkaBroker(url)
    consumer = broker.group_consumer(group="group", topics=[TOPIC])
    await broker.producer().publish(messages(20))
    (received, *_) = [batch async for batch in batches(consumer, 20)]
    server.kill()
    publishing = asyncio.create_task(broker.producer().publish(messages(20, first=20)))
    committing = asyncio.create_task(consumer.commit(received))
    await asyncio.sleep(0.5)

    began_at_seconds = time.monotonic()
    await broker.close()
    ended = await asyncio.gather(publishing, committing, return_exceptions=True)

    assert time.monotonic() - began_at_seconds < ENDED_SECONDS_MAX
    assert [type(outcome) for outcome in ended] == [UnavailableError, UnavailableError]


async def batches(consumer: Consumer, count: int) -> AsyncIterator[list[ReceivedMessage]]:
    """Read so many messages, and commit none."""
    while count > 0:
        batch = await consumer.poll(messages_max=count, timeout_seconds=1)
        count -= len(batch)
        if batch:
            yield batch
