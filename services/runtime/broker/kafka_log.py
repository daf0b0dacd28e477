"""Reading from Kafka in no group: all partitions, from now on or from the oldest message that is kept."""

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError

from services.runtime.broker.kafka_admin import ANSWER_SECONDS_MAX, KafkaQuestions
from services.runtime.broker.kafka_consumers import KafkaConsumer
from services.runtime.broker.kafka_errors import error_of, translated_errors
from services.runtime.broker.kafka_url import KafkaCluster
from services.runtime.broker.port import Place, ReceivedMessage
from services.runtime.ids import new_id

PARTITIONS_EVERY_SECONDS = 30.0
"""How often it looks for partitions that were added."""


class KafkaLogConsumer(KafkaConsumer):
    """Reads all partitions for itself alone."""

    def __init__(
        self,
        cluster: KafkaCluster,
        questions: KafkaQuestions,
        on_close: Callable[[KafkaConsumer], None],
        *,
        topics: Sequence[str],
        from_oldest: bool,
    ) -> None:
        """Prepare; `start` takes the places."""
        # librdkafka wants a group's name; nothing is ever committed under it.
        group, what = cluster.full(f"log-{new_id()}"), f"reading {', '.join(cluster.full(topic) for topic in topics)}"
        super().__init__(cluster, questions, {"group.id": group}, on_close, what=what)
        self._topics = tuple(topics)
        self._from_oldest = from_oldest
        self._next: dict[Place, int] = {}
        self._look_again_at = 0.0

    async def start(self) -> None:
        """Stand at the end of every partition, or at its beginning.

        Raises:
            UnavailableError: The cluster doesn't answer.
            NotFoundError: A topic doesn't exist (`topic_missing`).
        """
        await self._ask(self._take_places)

    def _take_places(self) -> None:
        with translated_errors("finding the ends of the topics", self._cluster.troubles):
            bounds = self._questions.bounds(self._partitions())
            self._next = {place: oldest if self._from_oldest else end for place, (oldest, end) in bounds.items()}
            self._consumer.assign([self._partition_at(*each) for each in self._next.items()])

    def _receive(self, messages_max: int, seconds: float) -> list[ReceivedMessage]:
        if time.monotonic() >= self._look_again_at:
            self._read_added_partitions()
        return super()._receive(messages_max, seconds)

    def _read_added_partitions(self) -> None:
        """Read partitions that were added, from their beginning: nothing of them was seen."""
        with translated_errors("looking for partitions", self._cluster.troubles):
            places = [place for place in self._partitions() if place not in self._next]
            added = {place: oldest for place, (oldest, _) in self._questions.bounds(places).items()}
            if added:
                self._next |= added
                self._consumer.incremental_assign([self._partition_at(*each) for each in added.items()])

    def _partitions(self) -> list[Place]:
        self._look_again_at = time.monotonic() + PARTITIONS_EVERY_SECONDS
        found = []
        for topic in self._topics:
            name = self._cluster.full(topic)
            metadata = self._consumer.list_topics(name, timeout=ANSWER_SECONDS_MAX).topics[name]
            if metadata.error is not None:
                raise error_of(metadata.error, f"looking at {name}")
            found += [(topic, partition) for partition in metadata.partitions]
        return found

    def _passes_over(self, error: KafkaError) -> bool:
        # librdkafka asks for the group's coordinator all the same; nobody needs a right on a group that isn't used.
        return error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED

    def _next_offsets(self) -> dict[Place, int]:
        return dict(self._next)

    def _note_given(self, messages: list[ReceivedMessage]) -> None:
        for message in messages:
            self._next[message.topic, message.partition] = message.offset + 1

    def _still_ours(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        return messages

    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        """Do nothing: a consumer of no group has nothing to remember."""
