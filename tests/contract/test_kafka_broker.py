"""What is Kafka's own, past the contract of all brokers."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from services.runtime.broker.kafka import KafkaBroker
from services.runtime.broker.port import LEASE_LOST_REASON, Consumer, Message, ReceivedMessage
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError
from tests.parts.kafka_topics import add_partitions, delete_topics, make_topics
from tests.parts.server import Server
from tests.support.waiting import eventually

TOPIC = "things"

PARTITIONS = 4


@pytest.fixture
async def broker(kafka_url: str) -> AsyncIterator[KafkaBroker]:
    make_topics(kafka_url, [TOPIC], partitions=PARTITIONS)
    broker = KafkaBroker(kafka_url)
    yield broker
    await broker.close()


@pytest.fixture
async def other(kafka_url: str, broker: KafkaBroker) -> AsyncIterator[KafkaBroker]:
    """Another process's, on the same cluster."""
    other = KafkaBroker(kafka_url)
    yield other
    await other.close()


def messages(count: int, *, first: int = 0) -> list[Message]:
    return [
        Message(topic=TOPIC, key=f"key-{number}".encode(), value=str(number).encode())
        for number in range(first, first + count)
    ]


async def test_a_topic_that_was_not_made_is_named_and_not_made(broker: KafkaBroker, kafka_url: str) -> None:
    with pytest.raises(NotFoundError, match="nothing") as raised:
        await broker.ensure_topics([TOPIC, "nothing"])
    assert raised.value.reason == "topic_missing"
    with pytest.raises(NotFoundError):
        await broker.tailing_consumer(topics=["nothing"])
    with pytest.raises(NotFoundError):
        await broker.ensure_topics(["nothing"])


async def test_a_message_that_no_broker_takes_is_refused_for_good(broker: KafkaBroker) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        await broker.producer().publish([Message(topic=TOPIC, key=b"k", value=bytes(2_000_000))])
    assert raised.value.reason == "message_too_large"

    await broker.producer().publish(messages(1))


async def test_two_consumers_share_the_partitions_and_miss_no_message(broker: KafkaBroker, other: KafkaBroker) -> None:
    seen: list[ReceivedMessage] = []
    by_consumer: list[set[int]] = [set(), set()]

    async def consume(number: int, source: KafkaBroker) -> None:
        consumer = source.group_consumer(group="g", topics=[TOPIC])
        while True:
            got = await consumer.poll(messages_max=50, timeout_seconds=0.5)
            seen.extend(got)  # the effect comes first: a commit may be refused for what the group gave away meanwhile
            with suppress(UnavailableError):
                await consumer.commit(got)
                by_consumer[number] |= {message.partition for message in got}

    tasks = [asyncio.create_task(consume(number, source)) for number, source in enumerate((broker, other))]
    published = 0
    async with asyncio.timeout(40):
        while not all(by_consumer):
            await broker.producer().publish(messages(40, first=published))
            published += 40
            await asyncio.sleep(0.1)
        await eventually(lambda: len({message.value for message in seen}) == published, seconds_max=20)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    for partition in range(PARTITIONS):
        offsets = [message.offset for message in seen if message.partition == partition]
        assert sorted(set(offsets)) == list(range(len(set(offsets))))


async def test_what_a_consumer_lost_to_its_group_it_can_not_commit(broker: KafkaBroker, other: KafkaBroker) -> None:
    await broker.producer().publish(messages(200))
    first = broker.group_consumer(group="g", topics=[TOPIC])
    held: list[ReceivedMessage] = []
    while len({message.partition for message in held}) < PARTITIONS:
        held += await first.poll(messages_max=200, timeout_seconds=1)
    second = other.group_consumer(group="g", topics=[TOPIC])
    until, taken = time.monotonic() + 30, list[ReceivedMessage]()
    while not taken and time.monotonic() < until:
        await first.poll(messages_max=1, timeout_seconds=0.1)
        taken = await second.poll(messages_max=1, timeout_seconds=0.1)

    with pytest.raises(UnavailableError) as raised:
        await first.commit(held)

    assert raised.value.reason == LEASE_LOST_REASON


async def test_a_tailing_consumer_reads_partitions_that_are_added_from_their_beginning(
    broker: KafkaBroker, kafka_url: str
) -> None:
    consumer = await broker.tailing_consumer(topics=[TOPIC])
    add_partitions(kafka_url, TOPIC, partitions=PARTITIONS + 2)
    fresh = KafkaBroker(kafka_url)
    await fresh.producer().publish(messages(100))
    await fresh.close()
    consumer._look_again_at = 0.0  # the half minute is over

    received: list[ReceivedMessage] = []
    async with asyncio.timeout(60):
        while len(received) < 100:
            received += await consumer.poll(messages_max=100, timeout_seconds=1)

    assert {message.partition for message in received} == set(range(PARTITIONS + 2))


@pytest.mark.timeout(120)
async def test_a_topic_that_was_deleted_and_made_again_is_read_from_its_beginning(
    broker: KafkaBroker, other: KafkaBroker, kafka_url: str
) -> None:
    consumer = broker.group_consumer(group="g", topics=[TOPIC])
    replaying = await broker.replaying_consumer(topics=[TOPIC])
    await broker.producer().publish(messages(200))
    await consumer.commit(await received_by(consumer, 200))
    await received_by(replaying, 200)
    await asyncio.to_thread(make_again, kafka_url)
    await other.producer().publish(messages(40))

    assert sum((await replaying.lag()).values()) == 40
    await consumer.commit(await received_by(consumer, 40))
    await received_by(replaying, 40)

    assert [sum((await each.lag()).values()) for each in (consumer, replaying)] == [0, 0]


async def received_by(consumer: Consumer, count: int) -> list[ReceivedMessage]:
    received: list[ReceivedMessage] = []
    async with asyncio.timeout(40):
        while len(received) < count:
            with suppress(NotFoundError):
                received += await consumer.poll(messages_max=count, timeout_seconds=1)
    return received


def make_again(kafka_url: str) -> None:
    delete_topics(kafka_url, [TOPIC])
    make_topics(kafka_url, [TOPIC], partitions=PARTITIONS)


@pytest.mark.part("kafka")
@pytest.mark.timeout(180)
async def test_a_broker_that_was_killed_is_used_again_when_it_is_back(private_server: Callable[..., Server]) -> None:
    server = private_server("kafka", ())
    url = server.start()
    make_topics(url, [TOPIC])
    broker = KafkaBroker(url)
    consumer = broker.group_consumer(group="g", topics=[TOPIC])
    await broker.producer().publish(messages(1))
    server.kill()
    publishing = asyncio.create_task(broker.producer().publish(messages(1, first=1)))
    await asyncio.sleep(1)
    assert not publishing.done()

    server.start()
    await publishing
    values: set[bytes] = set()
    async with asyncio.timeout(60):
        while len(values) < 2:
            with suppress(UnavailableError):
                values |= {message.value for message in await consumer.poll(messages_max=10, timeout_seconds=1)}

    assert values == {b"0", b"1"}
    await broker.close()


DIES_IN_ITS_GROUP = """
import asyncio, sys
from services.runtime.broker.kafka import KafkaBroker

async def main():
    consumer = KafkaBroker(sys.argv[1]).group_consumer(group="g", topics=["things"])
    while not await consumer.poll(messages_max=1, timeout_seconds=1):
        pass
    print("reading", flush=True)
    while True:
        await consumer.poll(messages_max=1, timeout_seconds=1)

asyncio.run(main())
"""
"""Reads, and never leaves."""


@pytest.mark.timeout(120)
async def test_what_a_killed_consumer_had_is_read_by_its_successor_within_seconds(
    broker: KafkaBroker, kafka_url: str
) -> None:
    await broker.producer().publish(messages(1))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIES_IN_ITS_GROUP, kafka_url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"reading\n"
    process.kill()
    await process.wait()

    successor = broker.group_consumer(group="g", topics=[TOPIC])
    # Far above what it takes, and below librdkafka's own 45 s.
    async with asyncio.timeout(40):
        while not await successor.poll(messages_max=1, timeout_seconds=1):
            pass
