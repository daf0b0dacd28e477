"""What is asked of a cluster beside reading and publishing.

It has connections of its own: on a consumer's, an answer waits behind the fetch under way, up to half a second each.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from services.runtime.broker.kafka_errors import LIBRARY_LOGGER, error_of
from services.runtime.broker.kafka_url import KafkaCluster
from services.runtime.broker.port import Place
from services.runtime.errors import NotFoundError, TradeFlowError

ANSWER_SECONDS_MAX = 10.0
"""How long the cluster may take to answer a question."""

LEADER_SECONDS = 0.1
"""How often a partition that has no leader right now is asked for: one that was just made, or whose broker died."""

_LEADER_CHANGES = frozenset(
    {
        KafkaError._NOENT,  # noqa: SLF001 - librdkafka's code for a partition that it hasn't heard of yet
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
    }
)

_SERVE_SECONDS = 0.1
"""How long to let librdkafka tell why nothing answered."""


_OLDEST = OffsetSpec.earliest()

_END = OffsetSpec.latest()


class KafkaQuestions:
    """Asks one cluster. All calls block, and may be made from any thread."""

    def __init__(self, cluster: KafkaCluster) -> None:
        """Prepare; the first question connects."""
        self._cluster = cluster
        self._opened: AdminClient | None = None

    @property
    def _client(self) -> AdminClient:
        if self._opened is None:
            self._opened = AdminClient(self._cluster.client_config(), logger=LIBRARY_LOGGER)
        return self._opened

    def require_topics(self, topics: Sequence[str]) -> None:
        """Make sure that topics exist and may be seen. Asking by name makes none, and tells missing from forbidden.

        Raises:
            NotFoundError: Some don't (`topic_missing`); all of them are named.
            UnavailableError: The cluster can't be asked, with the reason why.
        """
        names = sorted({self._cluster.full(topic) for topic in topics})
        described = self._client.describe_topics(TopicCollection(names), request_timeout=ANSWER_SECONDS_MAX)
        errors: dict[str, TradeFlowError] = {}
        for name, answer in described.items():
            try:
                answer.result()
            except KafkaException as raised:
                errors[name] = self._error_of(raised, f"looking for the topic {name}")
        missing = [name for name, error in errors.items() if isinstance(error, NotFoundError)]
        if missing:
            raise NotFoundError(
                f"Kafka has no topic {', '.join(missing)}; apply the EventTopic resources, or make them by hand",
                reason="topic_missing",
            )
        if errors:
            raise next(iter(errors.values()))
        self._cluster.troubles.entered()

    def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """Tell, for each partition, the offset of the oldest message that is kept, and the next message's.

        Raises:
            UnavailableError: The cluster can't be asked, with the reason why.
            NotFoundError: There is no such topic (`topic_missing`).
        """
        if not places:
            return {}
        until = time.monotonic() + ANSWER_SECONDS_MAX
        while True:
            asked = [self._asked(places, spec) for spec in (_OLDEST, _END)]
            try:
                oldest, ends = (
                    {place: int(answer.result().offset) for place, answer in each.items()} for each in asked
                )
            except KafkaException as raised:
                if raised.args[0].code() not in _LEADER_CHANGES or time.monotonic() > until:
                    raise self._error_of(raised, "asking where topics end") from raised
                time.sleep(LEADER_SECONDS)
                self._hear_of_partitions({topic for topic, _ in places})
            else:
                return {place: (oldest[place], ends[place]) for place in places}

    def _hear_of_partitions(self, topics: set[str]) -> None:
        """Let librdkafka look who leads which partition: by itself it does so every five minutes.

        Raises:
            UnavailableError: The cluster can't be asked, with the reason why.
            NotFoundError: There is no such topic (`topic_missing`).
        """
        for name in sorted(map(self._cluster.full, topics)):
            try:
                metadata = self._client.list_topics(name, timeout=ANSWER_SECONDS_MAX).topics[name]
            except KafkaException as raised:
                raise self._error_of(raised, f"looking at {name}") from raised
            if metadata.error is not None:
                raise error_of(metadata.error, f"looking at {name}")

    def _asked(self, places: Sequence[Place], spec: OffsetSpec) -> Mapping[Place, "Future[Any]"]:
        wanted = {TopicPartition(self._cluster.full(topic), partition): spec for topic, partition in places}
        answers = self._client.list_offsets(wanted, request_timeout=ANSWER_SECONDS_MAX)
        return {(self._cluster.short(each.topic), each.partition): answer for each, answer in answers.items()}

    def _error_of(self, raised: KafkaException, what: str) -> TradeFlowError:
        self._client.poll(_SERVE_SECONDS)
        return error_of(raised.args[0], what, self._cluster.troubles)
