"""The real broker: Kafka, through librdkafka.

Topics are made by the operator, or by hand: a service that misses one names it and does not start.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from services.runtime.broker.kafka_admin import KafkaQuestions
from services.runtime.broker.kafka_consumers import KafkaConsumer
from services.runtime.broker.kafka_errors import closed_error
from services.runtime.broker.kafka_group import UNPOLLED_SECONDS_MAX, KafkaGroupConsumer
from services.runtime.broker.kafka_log import KafkaLogConsumer
from services.runtime.broker.kafka_producer import DELIVERY_SECONDS_MAX, KafkaProducer
from services.runtime.broker.kafka_url import cluster_of
from services.runtime.errors import UnavailableError


class KafkaBroker:
    """The `Broker` port on a Kafka cluster."""

    def __init__(
        self,
        url: str,
        *,
        unpolled_seconds_max: float = UNPOLLED_SECONDS_MAX,
        delivery_seconds_max: float = DELIVERY_SECONDS_MAX,
    ) -> None:
        """Prepare; nothing is asked of the cluster yet.

        Args:
            url: Where it is; see `kafka_url`.
            unpolled_seconds_max: How long a process that hangs keeps its partitions from the others of its group.
            delivery_seconds_max: How long a message is repeated before publishing fails.

        Raises:
            InvalidArgumentError: The URL is malformed.
        """
        self._cluster = cluster_of(url)
        self._questions = KafkaQuestions(self._cluster)
        self._producer = KafkaProducer(self._cluster, delivery_seconds_max=delivery_seconds_max)
        self._consumers: set[KafkaConsumer] = set()
        self._unpolled_seconds_max = unpolled_seconds_max
        self._closed = False

    def producer(self) -> KafkaProducer:
        """Return the producer that all of this broker share."""
        return self._producer

    def group_consumer(self, *, group: str, topics: Sequence[str]) -> KafkaGroupConsumer:
        """Open a consumer that shares the topics' partitions with the others of its group."""
        self._require_open()
        consumer = KafkaGroupConsumer(
            self._cluster,
            self._questions,
            self._consumers.discard,
            group=group,
            topics=topics,
            unpolled_seconds_max=self._unpolled_seconds_max,
        )
        self._consumers.add(consumer)
        return consumer

    async def tailing_consumer(self, *, topics: Sequence[str]) -> KafkaLogConsumer:
        """Open a consumer of all partitions that starts with what is published from now on.

        Raises:
            UnavailableError: The cluster doesn't answer.
            NotFoundError: A topic doesn't exist (`topic_missing`).
        """
        return await self._log_consumer(topics, from_oldest=False)

    async def replaying_consumer(self, *, topics: Sequence[str]) -> KafkaLogConsumer:
        """Open a consumer of all partitions that starts with the oldest message that is kept.

        Raises:
            UnavailableError: The cluster doesn't answer.
            NotFoundError: A topic doesn't exist (`topic_missing`).
        """
        return await self._log_consumer(topics, from_oldest=True)

    async def _log_consumer(self, topics: Sequence[str], *, from_oldest: bool) -> KafkaLogConsumer:
        self._require_open()
        consumer = KafkaLogConsumer(
            self._cluster, self._questions, self._consumers.discard, topics=topics, from_oldest=from_oldest
        )
        self._consumers.add(consumer)
        try:
            await consumer.start()
        except BaseException:
            await consumer.close()
            raise
        return consumer

    async def ensure_topics(self, topics: Sequence[str]) -> None:
        """Make sure that the topics are there, and that this user may see them.

        Raises:
            NotFoundError: One is not (`topic_missing`); its name is in the message.
            UnavailableError: The cluster doesn't answer (`broker_unreachable`), doesn't let this user in
                (`broker_unauthenticated`) or to a topic (`broker_forbidden`), or isn't trusted (`broker_untrusted`).
        """
        await asyncio.to_thread(self._questions.require_topics, topics)

    def outer_name(self, topic: str) -> str:
        """Name a topic as the cluster does."""
        return self._cluster.full(topic)

    def _require_open(self) -> None:
        if self._closed:
            raise closed_error()

    async def close(self) -> None:
        """Close all producers and consumers, at once: where the cluster is away, each takes seconds."""
        self._closed = True
        await asyncio.gather(self._producer.close(), *[_close(consumer) for consumer in self._consumers])


async def _close(consumer: KafkaConsumer) -> None:
    with suppress(UnavailableError):
        await consumer.close()
