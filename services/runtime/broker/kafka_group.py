"""Reading from Kafka in a group.

The group takes a consumer that doesn't poll for too long for dead, and goes on without it. But handlers may have to
wait for a database for as long as it takes: so a consumer whose batch is in hand goes on polling by itself, with all
its partitions paused. librdkafka then fetches nothing, and what it had fetched is bounded.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Consumer, TopicPartition

from services.runtime.broker.kafka_admin import ANSWER_SECONDS_MAX, KafkaQuestions
from services.runtime.broker.kafka_consumers import KafkaConsumer
from services.runtime.broker.kafka_errors import error_of, translated_errors
from services.runtime.broker.kafka_url import Config, KafkaCluster
from services.runtime.broker.port import LEASE_LOST_REASON, Place, ReceivedMessage
from services.runtime.errors import TradeFlowError, UnavailableError

logger = structlog.get_logger(__name__)

UNPOLLED_SECONDS_MAX = 300.0
"""How long a process that hangs keeps its partitions from the others of its group. librdkafka's own default."""

SESSION_SECONDS_MAX = 10.0
"""How long one that died does: all orders of its partitions wait meanwhile. librdkafka sends heartbeats every 3 s from
a thread of its own, so that a busy process isn't taken for a dead one; its default of 45 s is for groups that move much
state when they share anew, and ours moves none."""

KEEPS_PER_LIMIT = 10
"""How often membership is kept within the limit: most of the attempts may come late."""


class KafkaGroupConsumer(KafkaConsumer):
    """Shares the topics' partitions with its group; when one comes or goes, the others keep what they have."""

    def __init__(
        self,
        cluster: KafkaCluster,
        questions: KafkaQuestions,
        on_close: Callable[[KafkaConsumer], None],
        *,
        group: str,
        topics: Sequence[str],
        unpolled_seconds_max: float = UNPOLLED_SECONDS_MAX,
    ) -> None:
        """Join the group."""
        membership: Config = {
            "group.id": cluster.full(group),
            "partition.assignment.strategy": "cooperative-sticky",
            "max.poll.interval.ms": int(unpolled_seconds_max * 1000),
            "session.timeout.ms": int(min(SESSION_SECONDS_MAX, unpolled_seconds_max) * 1000),
        }
        what = f"reading {', '.join(cluster.full(topic) for topic in topics)} as group {cluster.full(group)}"
        super().__init__(cluster, questions, membership, on_close, what=what)
        self._assigned: set[Place] = set()
        self._committed: dict[Place, int] = {}
        self._keep_seconds = unpolled_seconds_max / KEEPS_PER_LIMIT
        self._keeping: asyncio.Task[None] | None = None
        self._polled_at_seconds = time.monotonic()
        self._maybe_paused = False
        self._consumer.subscribe(
            [cluster.full(topic) for topic in topics],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned |= {self._place_of(partition) for partition in partitions}
        # librdkafka keeps a partition paused while it is somebody else's, and when it comes back.
        self._maybe_paused = True

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            place = self._place_of(partition)
            self._assigned.discard(place)
            self._committed.pop(place, None)

    async def poll(self, *, messages_max: int, timeout_seconds: float) -> list[ReceivedMessage]:
        """Return the next messages as soon as there are any, or none after the timeout.

        Raises:
            UnavailableError: The cluster can't be read now.
            NotFoundError: A topic doesn't exist (`topic_missing`).
        """
        if self._keeping is None and not self._closed:
            self._keeping = asyncio.create_task(self._keep_membership(), name="kafka-membership")
        try:
            return await super().poll(messages_max=messages_max, timeout_seconds=timeout_seconds)
        finally:
            self._polled_at_seconds = time.monotonic()

    async def _keep_membership(self) -> None:
        while True:
            await asyncio.sleep(self._keep_seconds)
            if self._waiting is None and time.monotonic() - self._polled_at_seconds >= self._keep_seconds:
                try:
                    # Not `+= await`: the list may be another one when the answer comes.
                    received = await self._ask(self._poll_paused)
                except TradeFlowError as error:
                    # The next real poll meets it too, and whoever asked for that is told.
                    logger.warning("membership_not_kept", reason=error.reason, error=error.message)
                else:
                    self._ready += received

    def _poll_paused(self) -> list[ReceivedMessage]:
        with translated_errors(self._what, self._cluster.troubles):
            self._consumer.pause(self._consumer.assignment())
            self._maybe_paused = True
            message = self._consumer.poll(0)
        return self._without_errors([message]) if message is not None else []

    def _receive(self, messages_max: int, seconds: float) -> list[ReceivedMessage]:
        if self._maybe_paused:
            self._maybe_paused = False
            with translated_errors(self._what, self._cluster.troubles):
                self._consumer.resume(self._consumer.assignment())
        return super()._receive(messages_max, seconds)

    def _still_ours(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        return [message for message in messages if (message.topic, message.partition) in self._assigned]

    def _note_given(self, messages: list[ReceivedMessage]) -> None:
        """Begin anew with a topic that was deleted and made again: its offsets begin before what was committed."""
        for message in messages:
            place = (message.topic, message.partition)
            if message.offset < self._committed.get(place, 0):
                self._committed.pop(place, None)

    def _next_offsets(self) -> dict[Place, int]:
        places = sorted(self._assigned)
        with translated_errors("reading offsets", self._cluster.troubles):
            committed = self._consumer.committed([self._partition_at(place) for place in places], ANSWER_SECONDS_MAX)
        return {place: max(0, partition.offset) for place, partition in zip(places, committed, strict=True)}

    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        """Remember that these, and all before them, were handled.

        Raises:
            UnavailableError: With `LEASE_LOST_REASON`, another consumer of the group has taken over.
        """
        next_offsets: dict[Place, int] = {}
        for message in messages:
            place = (message.topic, message.partition)
            next_offsets[place] = max(next_offsets.get(place, 0), message.offset + 1)
        if not next_offsets:
            return
        if self._closed:
            raise UnavailableError("this consumer left its group", reason=LEASE_LOST_REASON)
        await self._ask(lambda: self._commit(next_offsets))

    def _commit(self, next_offsets: dict[Place, int]) -> None:
        due = [
            self._partition_at(place, offset)
            for place, offset in next_offsets.items()
            if place in self._assigned and offset > self._committed.get(place, 0)
        ]
        if due:
            with translated_errors("committing offsets", self._cluster.troubles):
                for committed in self._consumer.commit(offsets=due, asynchronous=False) or ():
                    if committed.error is not None:
                        raise error_of(committed.error, "committing offsets", self._cluster.troubles)
        for partition in due:
            self._committed[self._place_of(partition)] = partition.offset
        if not next_offsets.keys() <= self._assigned:
            raise UnavailableError("another consumer of the group has taken over", reason=LEASE_LOST_REASON)

    async def close(self) -> None:
        """Leave the group."""
        if self._keeping is not None:
            self._keeping.cancel()
        await super().close()
