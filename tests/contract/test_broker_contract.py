"""What every implementation of the `Broker` port does."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import LEASE_LOST_REASON, Broker, Consumer, Message, ReceivedMessage
from services.runtime.errors import UnavailableError
from tests.parts.kafka_topics import make_topics

TOPIC = "things"
OTHER = "others"


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.part("kafka"))])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/broker.db"
    url: str = request.getfixturevalue("kafka_url")
    make_topics(url, [TOPIC, OTHER])
    return url


@pytest.fixture
async def broker(broker_url: str) -> AsyncIterator[Broker]:
    broker = open_broker(broker_url)
    await broker.ensure_topics([TOPIC, OTHER])
    yield broker
    await broker.close()


@pytest.fixture
async def second_broker(broker_url: str, broker: Broker) -> AsyncIterator[Broker]:
    """Another service's, on the same log."""
    second = open_broker(broker_url)
    yield second
    await second.close()


def a_message(value: str, *, key: str = "key", topic: str = TOPIC) -> Message:
    return Message(topic=topic, key=key.encode(), value=value.encode(), headers={"event-id": value})


async def publish(broker: Broker, *values: str, topic: str = TOPIC) -> None:
    await broker.producer().publish([a_message(value, topic=topic) for value in values])


async def receive(consumer: Consumer, count: int) -> list[ReceivedMessage]:
    """Poll until so many came; fail after five seconds."""
    received: list[ReceivedMessage] = []
    give_up_at = time.monotonic() + 30
    while len(received) < count:
        assert time.monotonic() < give_up_at, f"{len(received)} of {count} messages came"
        received += await consumer.poll(messages_max=count - len(received), timeout_seconds=0.5)
    return received


def values_of(messages: Sequence[Message]) -> list[str]:
    return [message.value.decode() for message in messages]


async def test_a_message_arrives_as_it_was_published(broker: Broker) -> None:
    message = Message(topic=TOPIC, key=b"\x00key", value=b"\xff\x00", headers={"event-id": "1", "näme": "ü"})

    await broker.producer().publish([message])
    (received,) = await receive(broker.group_consumer(group="g", topics=[TOPIC]), 1)

    assert (received.topic, received.key, received.value) == (TOPIC, b"\x00key", b"\xff\x00")
    assert dict(received.headers) == {"event-id": "1", "näme": "ü"}


async def test_messages_of_one_key_keep_their_order(broker: Broker) -> None:
    producer = broker.producer()
    for batch in range(10):
        await producer.publish([a_message(f"{batch}-{number}", key=f"key-{number % 3}") for number in range(30)])

    received = await receive(broker.group_consumer(group="g", topics=[TOPIC]), 300)

    for key in (b"key-0", b"key-1", b"key-2"):
        values = [message.value.decode() for message in received if message.key == key]
        expected = [
            f"{batch}-{number}" for batch in range(10) for number in range(30) if f"key-{number % 3}" == key.decode()
        ]
        assert values == expected


async def test_messages_of_several_topics_in_one_publish_go_to_their_topics(broker: Broker) -> None:
    await broker.producer().publish([a_message("a"), a_message("b", topic=OTHER), a_message("c")])

    things = await receive(broker.group_consumer(group="g", topics=[TOPIC]), 2)
    others = await receive(broker.group_consumer(group="g", topics=[OTHER]), 1)

    assert (values_of(things), values_of(others)) == (["a", "c"], ["b"])


async def test_publishing_nothing_is_fine(broker: Broker) -> None:
    await broker.producer().publish([])

    assert await broker.group_consumer(group="g", topics=[TOPIC]).poll(messages_max=1, timeout_seconds=0.01) == []


async def test_a_poll_gives_no_more_than_it_was_asked_for(broker: Broker) -> None:
    await publish(broker, "a", "b", "c")
    consumer = broker.group_consumer(group="g", topics=[TOPIC])

    assert len(await receive(consumer, 2)) == 2
    assert values_of(await receive(consumer, 1)) == ["c"]


async def test_a_poll_without_messages_ends_in_time(broker: Broker) -> None:
    consumer = broker.group_consumer(group="g", topics=[TOPIC])
    began = time.monotonic()

    assert await consumer.poll(messages_max=1, timeout_seconds=0.2) == []
    assert 0.15 < time.monotonic() - began < 1


async def test_a_group_that_never_committed_starts_at_the_beginning(broker: Broker) -> None:
    await publish(broker, "a", "b")
    first = broker.group_consumer(group="g", topics=[TOPIC])
    assert values_of(await receive(first, 2)) == ["a", "b"]
    await first.close()

    assert values_of(await receive(broker.group_consumer(group="g", topics=[TOPIC]), 2)) == ["a", "b"]


async def test_a_group_goes_on_behind_what_it_committed(broker: Broker) -> None:
    await publish(broker, "a", "b", "c")
    first = broker.group_consumer(group="g", topics=[TOPIC])
    await first.commit(await receive(first, 2))
    await first.close()

    second = broker.group_consumer(group="g", topics=[TOPIC])

    assert values_of(await receive(second, 1)) == ["c"]


async def test_committing_an_older_message_moves_nothing_back(broker: Broker) -> None:
    await publish(broker, "a", "b", "c")
    first = broker.group_consumer(group="g", topics=[TOPIC])
    received = await receive(first, 2)
    await first.commit(received)
    await first.commit(received[:1])
    await first.commit([])
    await first.close()

    assert values_of(await receive(broker.group_consumer(group="g", topics=[TOPIC]), 1)) == ["c"]


async def test_each_group_gets_every_message(broker: Broker) -> None:
    await publish(broker, "a", "b")

    for group in ("one", "two"):
        assert values_of(await receive(broker.group_consumer(group=group, topics=[TOPIC]), 2)) == ["a", "b"]


async def test_of_two_consumers_of_a_group_each_message_goes_to_one(broker: Broker, second_broker: Broker) -> None:
    consumers = [b.group_consumer(group="g", topics=[TOPIC]) for b in (broker, second_broker)]
    got: list[str] = []
    all_came = asyncio.Event()

    async def consume(consumer: Consumer) -> None:
        while True:
            messages = await consumer.poll(messages_max=7, timeout_seconds=0.2)
            got.extend(values_of(messages))
            await consumer.commit(messages)
            if len(got) >= 100:
                all_came.set()

    tasks = [asyncio.create_task(consume(consumer)) for consumer in consumers]
    expected = [f"value-{number}" for number in range(100)]
    for value in expected:
        await publish(broker, value)
    async with asyncio.timeout(60):
        await all_came.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert got == expected


async def test_when_a_consumer_leaves_another_of_its_group_goes_on_at_once(
    broker: Broker, second_broker: Broker
) -> None:
    await publish(broker, "a", "b")
    first = broker.group_consumer(group="g", topics=[TOPIC])
    await first.commit(await receive(first, 1))
    second = second_broker.group_consumer(group="g", topics=[TOPIC])
    waiting = asyncio.create_task(second.poll(messages_max=5, timeout_seconds=5))
    await asyncio.sleep(0.05)
    assert not waiting.done()

    began = time.monotonic()
    await first.close()

    assert values_of(await waiting) == ["b"]
    assert time.monotonic() - began < 0.5


async def test_a_tailing_consumer_sees_only_what_is_published_from_then_on(broker: Broker) -> None:
    await publish(broker, "before")
    consumer = await broker.tailing_consumer(topics=[TOPIC])
    await publish(broker, "after")

    assert values_of(await receive(consumer, 1)) == ["after"]
    assert await consumer.poll(messages_max=5, timeout_seconds=0.05) == []


async def test_every_tailing_consumer_gets_every_message(broker: Broker, second_broker: Broker) -> None:
    consumers = [await b.tailing_consumer(topics=[TOPIC, OTHER]) for b in (broker, second_broker) for _ in range(5)]
    waiting = [asyncio.create_task(receive(consumer, 2)) for consumer in consumers]
    await asyncio.sleep(0)
    await publish(broker, "a")
    await publish(second_broker, "b", topic=OTHER)

    for task in waiting:
        assert sorted(values_of(await task)) == ["a", "b"]


async def test_a_waiting_consumer_of_this_process_is_woken_at_once(broker: Broker, second_broker: Broker) -> None:
    consumer = second_broker.group_consumer(group="g", topics=[TOPIC])
    delays: list[float] = []
    for number in range(10):
        waiting = asyncio.create_task(consumer.poll(messages_max=1, timeout_seconds=5))
        await asyncio.sleep(0.01)
        began = time.monotonic()
        await publish(broker, f"value-{number}")
        await waiting
        delays.append(time.monotonic() - began)

    assert sorted(delays)[5] < 0.03


async def test_what_was_published_is_there_after_reopening(broker_url: str, broker: Broker) -> None:
    await publish(broker, "a")
    await broker.close()

    reopened = open_broker(broker_url)
    try:
        assert values_of(await receive(reopened.group_consumer(group="g", topics=[TOPIC]), 1)) == ["a"]
    finally:
        await reopened.close()


async def test_ensuring_topics_again_loses_nothing(broker: Broker) -> None:
    await publish(broker, "a")
    await asyncio.gather(*(broker.ensure_topics([TOPIC, OTHER]) for _ in range(3)))

    assert values_of(await receive(broker.group_consumer(group="g", topics=[TOPIC]), 1)) == ["a"]


async def test_many_who_publish_at_once_lose_nothing(broker: Broker, second_broker: Broker) -> None:
    await asyncio.gather(
        *(
            publish(b, *(f"{name}-{batch}-{number}" for number in range(5)))
            for name, b in (("one", broker), ("two", second_broker))
            for batch in range(20)
        )
    )

    received = await receive(broker.group_consumer(group="g", topics=[TOPIC]), 200)

    assert len(set(values_of(received))) == 200
    assert [message.offset for message in received] == sorted(message.offset for message in received)


async def test_a_closed_broker_says_so(broker: Broker) -> None:
    consumer = broker.group_consumer(group="g", topics=[TOPIC])
    await broker.close()

    with pytest.raises(UnavailableError):
        await publish(broker, "a")
    with pytest.raises(UnavailableError):
        await consumer.poll(messages_max=1, timeout_seconds=0.1)


async def test_closing_ends_a_poll_that_waits(broker: Broker) -> None:
    consumer = await broker.tailing_consumer(topics=[TOPIC])
    waiting = asyncio.create_task(consumer.poll(messages_max=1, timeout_seconds=30))
    await asyncio.sleep(0.02)
    await broker.close()

    async with asyncio.timeout(2):
        with pytest.raises(UnavailableError):
            await waiting


async def test_a_cancelled_poll_loses_nothing(broker: Broker) -> None:
    consumer = broker.group_consumer(group="g", topics=[TOPIC])
    waiting = asyncio.create_task(consumer.poll(messages_max=1, timeout_seconds=30))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await publish(broker, "a")

    assert values_of(await receive(consumer, 1)) == ["a"]


async def test_a_commit_after_leaving_is_refused_once_another_took_over(broker: Broker, second_broker: Broker) -> None:
    await publish(broker, "a", "b")
    first = broker.group_consumer(group="g", topics=[TOPIC])
    received = await receive(first, 2)
    await first.close()
    second = second_broker.group_consumer(group="g", topics=[TOPIC])
    assert values_of(await receive(second, 2)) == ["a", "b"]

    with pytest.raises(UnavailableError) as raised:
        await first.commit(received)

    assert raised.value.reason == LEASE_LOST_REASON


async def test_the_lag_of_a_group_is_what_it_has_not_committed(broker: Broker) -> None:
    await publish(broker, "a", "b", "c")
    consumer = broker.group_consumer(group="g", topics=[TOPIC])
    received = await receive(consumer, 3)
    before = await consumer.lag()
    await consumer.commit(received[:2])
    await publish(broker, "d")

    after = await consumer.lag()

    assert (before, after) == ({(TOPIC, 0): 3}, {(TOPIC, 0): 2})


async def test_the_lag_of_a_tailing_consumer_is_what_it_did_not_give_out_yet(broker: Broker) -> None:
    await publish(broker, "before")
    consumer = await broker.tailing_consumer(topics=[TOPIC, OTHER])
    at_first = await consumer.lag()
    await publish(broker, "a", "b", "c")
    await receive(consumer, 1)

    assert at_first == {(TOPIC, 0): 0, (OTHER, 0): 0}
    assert await consumer.lag() == {(TOPIC, 0): 2, (OTHER, 0): 0}


async def test_a_replaying_consumer_gets_all_that_is_kept_and_then_what_comes(broker: Broker) -> None:
    await publish(broker, "a", "b")
    consumer = await broker.replaying_consumer(topics=[TOPIC])
    ahead = await consumer.lag()
    first = await receive(consumer, 2)
    caught_up = await consumer.lag()
    await publish(broker, "c")

    assert (ahead, caught_up) == ({(TOPIC, 0): 2}, {(TOPIC, 0): 0})
    assert values_of([*first, *await receive(consumer, 1)]) == ["a", "b", "c"]
