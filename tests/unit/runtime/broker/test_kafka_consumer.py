"""What librdkafka gives at once is taken at once: messages and errors among them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as KafkaMessage

from services.runtime.broker.kafka import KafkaBroker
from services.runtime.broker.kafka_group import KafkaGroupConsumer
from services.runtime.errors import UnavailableError

NOWHERE = "kafka://127.0.0.1:1"
"""Nobody listens there, and nobody needs to."""


class Librdkafka:
    """Fits what the adapter asks of librdkafka's consumer: gives out what a test prepared."""

    def __init__(self, *prepared: KafkaMessage | KafkaException) -> None:
        self._prepared = list(prepared)

    def poll(self, _seconds: float) -> KafkaMessage | None:
        return self._next() if self._prepared else None

    def consume(self, count: int, *, timeout: float) -> list[KafkaMessage]:
        assert timeout == 0
        return [self._next() for _ in range(min(count, len(self._prepared)))]

    def _next(self) -> KafkaMessage:
        given = self._prepared.pop(0)
        if isinstance(given, KafkaException):
            raise given
        return given

    def close(self) -> None:
        """Nothing to leave."""


def a_message(offset: int) -> KafkaMessage:
    return KafkaMessage(topic="things", partition=0, offset=offset, key=b"k", value=str(offset).encode())


def an_error() -> KafkaMessage:
    return KafkaMessage(topic="things", error=KafkaError(KafkaError._TRANSPORT))


@pytest.fixture
async def consumer() -> AsyncIterator[KafkaGroupConsumer]:
    broker = KafkaBroker(NOWHERE)
    consumer = broker.group_consumer(group="g", topics=["things"])
    consumer._consumer.close()
    consumer._assigned = {("things", 0)}
    yield consumer
    await broker.close()


def give(consumer: KafkaGroupConsumer, *prepared: Any) -> None:
    consumer._consumer = Librdkafka(*prepared)  # type: ignore[assignment] # the library's class can't be subclassed


async def offsets_of(consumer: KafkaGroupConsumer) -> list[int]:
    return [message.offset for message in await consumer.poll(messages_max=10, timeout_seconds=0.1)]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_an_error_among_messages_costs_none_of_them(consumer: KafkaGroupConsumer, place: int) -> None:
    prepared = [a_message(0), a_message(1)]
    prepared.insert(place, an_error())
    give(consumer, *prepared)

    assert await offsets_of(consumer) == [0, 1]
    with pytest.raises(UnavailableError):
        await offsets_of(consumer)
    assert await offsets_of(consumer) == []


async def test_an_error_behind_the_first_message_leaves_it(consumer: KafkaGroupConsumer) -> None:
    give(consumer, a_message(0), KafkaException(KafkaError(KafkaError._STATE)), a_message(1))

    assert await offsets_of(consumer) == [0]
    with pytest.raises(UnavailableError):
        await offsets_of(consumer)
    assert await offsets_of(consumer) == [1]
