"""A Kafka cluster, as a check reads it: by partitions, of no group."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient

from services.embedded.verification.event_log import Offsets, backlog_of
from services.runtime.broker.kafka_errors import LIBRARY_LOGGER, error_of, translated_errors
from services.runtime.broker.kafka_url import Config, cluster_of
from services.runtime.broker.port import ReceivedMessage
from services.runtime.errors import UnavailableError

MESSAGES_A_PAGE = 1_000
"""Read at once."""

ANSWER_SECONDS_MAX = 20.0
"""How long the cluster may take for an answer, or be silent in the middle of a partition."""

_READER: Config = {
    "group.id": "verify",  # asked for, and never used
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 20,
}
"""Reads what is there: it needn't wait for more."""

T = TypeVar("T")


class KafkaEventLog:
    """Fits `EventLog`."""

    def __init__(self, url: str) -> None:
        """Prepare; the first question connects."""
        self._cluster = cluster_of(url)
        self._place = self._cluster.config["bootstrap.servers"]
        self._consumer = Consumer({**self._cluster.client_config(), **_READER}, logger=LIBRARY_LOGGER)
        self._administrator = AdminClient(self._cluster.client_config(), logger=LIBRARY_LOGGER)

    async def topics(self) -> Sequence[str]:
        """List all topics."""
        return sorted(await self._asked(lambda: list(self._partitions())))

    async def forgetful_partitions(self, topic: str) -> frozenset[int]:
        """List the partitions whose first messages are not kept any more."""
        firsts, _ = await self._asked(lambda: self._bounds(topic))
        return frozenset(partition for (_, partition), offset in firsts.items() if offset > 0)

    async def messages(self, topic: str) -> AsyncIterator[ReceivedMessage]:
        """Read what each partition holds now, in its order."""
        firsts, ends = await self._asked(lambda: self._bounds(topic))
        unread = {partition for (_, partition), end in ends.items() if firsts[topic, partition] < end}
        name = self._cluster.full(topic)
        self._consumer.assign([TopicPartition(name, partition, firsts[topic, partition]) for partition in unread])
        while unread:
            for message in await self._asked(self._page):
                end_offset = ends[topic, message.partition]
                if message.offset < end_offset:
                    yield message
                if message.offset + 1 >= end_offset:
                    unread.discard(message.partition)

    async def backlog(self) -> int:
        """Count what was published and not handled yet, over all groups."""
        return await self._asked(self._backlog)

    async def close(self) -> None:
        """Close the connections."""
        await self._asked(self._consumer.close)

    async def _asked(self, question: Callable[[], T]) -> T:
        """Ask the blocking client.

        Raises:
            UnavailableError: It doesn't answer, or not to us.
        """
        with translated_errors(f"Kafka at {self._place} can't be asked", self._cluster.troubles):
            return await asyncio.to_thread(question)

    def _partitions(self) -> dict[str, list[int]]:
        """Read the partitions of each topic of this installation."""
        known = self._consumer.list_topics(timeout=ANSWER_SECONDS_MAX).topics
        return {
            self._cluster.short(name): sorted(topic.partitions)
            for name, topic in known.items()
            if name.startswith(self._cluster.prefix) and not name.startswith("__")
        }

    def _bounds(self, topic: str) -> tuple[Offsets, Offsets]:
        """Read the first offset of each partition of a topic, and the one behind its last."""
        firsts, ends = {}, {}
        for partition in self._partitions().get(topic, []):
            place = TopicPartition(self._cluster.full(topic), partition)
            bounds = self._consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS_MAX)
            if bounds is None:
                raise UnavailableError(f"Kafka doesn't tell the offsets of {topic}.", reason="broker_unavailable")
            firsts[topic, partition], ends[topic, partition] = bounds
        return firsts, ends

    def _page(self) -> list[ReceivedMessage]:
        """Read on where the consumer stands.

        Raises:
            UnavailableError: Nothing comes, though there is more.
        """
        first = self._consumer.poll(ANSWER_SECONDS_MAX)
        if first is None:
            raise UnavailableError("Kafka has more messages and doesn't give them.", reason="broker_unreachable")
        more = self._consumer.consume(MESSAGES_A_PAGE - 1, timeout=0)
        return [self._received(message) for message in (first, *more) if not _is_about_the_group(message)]

    def _received(self, message: KafkaMessage) -> ReceivedMessage:
        error = message.error()
        if error is not None:
            raise error_of(error, f"reading {message.topic() or 'topics'}")
        headers = list(message.headers() or [])
        return ReceivedMessage(
            topic=self._cluster.short(message.topic() or ""),
            key=message.key() or b"",
            value=message.value() or b"",
            headers={str(name): _text(value) for name, value in headers},
            partition=message.partition() or 0,
            offset=message.offset() or 0,
        )

    def _backlog(self) -> int:
        listed = self._administrator.list_consumer_groups(request_timeout=ANSWER_SECONDS_MAX).result()
        groups = [group.group_id for group in listed.valid if group.group_id.startswith(self._cluster.prefix)]
        return sum(self._backlog_of_group(group) for group in groups)

    def _backlog_of_group(self, group: str) -> int:
        asked = [ConsumerGroupTopicPartitions(group)]
        committed = self._administrator.list_consumer_group_offsets(asked, request_timeout=ANSWER_SECONDS_MAX)
        backlog = 0
        for place in committed[group].result().topic_partitions:
            topic = self._cluster.short(place.topic)
            firsts, ends = self._bounds(topic)
            key = (topic, place.partition)
            backlog += backlog_of(ends[key], place.offset, firsts[key])
        return backlog


def _is_about_the_group(message: KafkaMessage) -> bool:
    """Tell whether it only says that we may not use the group, which we don't: librdkafka asks for it all the same."""
    error = message.error()
    return error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
