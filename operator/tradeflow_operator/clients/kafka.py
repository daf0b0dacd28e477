"""Kafka's admin API on one cluster: librdkafka's client, whose futures asyncio awaits."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog
from confluent_kafka import ConsumerGroupState, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.clients.gathering import Gatherer
from tradeflow_operator.clients.kafka_errors import ALREADY_EXISTS, UNKNOWN_TOPIC, code_of, is_silence, meaning_of
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_topic import TopicSight

logger = structlog.get_logger(__name__)

T = TypeVar("T")

Question = Callable[[float], Future[T]]
"""Asks librdkafka with a timeout in seconds."""

Questions = Callable[[float], Mapping[Any, Future[Any]]]
"""The same for several at once."""

READ_SECONDS_MAX = 8.0
"""How long a question may take."""

WRITE_SECONDS_MAX = 5.0
"""How long a write may take; less when the lease has less left."""

VISIBLE_SECONDS_MAX = 5.0
"""How long a new topic may take to be seen by the broker that is asked."""

DOWN_SECONDS = 3.0
"""After a cluster didn't answer, so long nobody asks it again: a thousand topics must not wait one after the other."""

GROUPS_AT_ONCE = 100
"""Consumer groups in one request."""

_IDLE_GROUPS = frozenset({ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD})

ClusterSight = tuple[str, int]
"""A cluster's id, and how many brokers it has."""


class KafkaAdmin:
    """Asks and changes one cluster.

    All calls raise:
        UnavailableError: `KafkaUnreachable`; try again.
        RefusedError: `KafkaForbidden`, `KafkaRefused` or `KafkaHasNoAuthorizer`; the message is the broker's.
    """

    def __init__(self, config: Mapping[str, Any], fence: Fence, metrics: OperatorMetrics, *, batch_size: int) -> None:
        """Take librdkafka's settings, and how many topics are asked about at a time; nothing is asked yet."""
        self._admin = AdminClient({"log_level": 0, "socket.timeout.ms": 10_000, **config})
        self._fence = fence
        self._metrics = metrics
        self._topics: Gatherer[TopicSight | None] = Gatherer(self._describe_topics, questions_max=batch_size)
        self._down_until = 0.0

    @property
    def native(self) -> AdminClient:
        """Librdkafka's own client, for what only one kind needs."""
        return self._admin

    async def cluster(self) -> ClusterSight:
        """Describe the cluster."""
        answer: Any = await self.ask(
            lambda seconds: self._admin.describe_cluster(request_timeout=seconds), "describe the cluster"
        )
        return str(answer.cluster_id), len(answer.nodes or ())

    async def topic(self, name: str) -> TopicSight | None:
        """Describe a topic; None when there is none."""
        return await self._topics.answer(name)

    async def records(self, name: str, partitions: int) -> int:
        """Count the offsets that a topic holds."""
        places = [TopicPartition(name, number) for number in range(partitions)]
        ends = await self._offsets(places, OffsetSpec.latest())
        begins = await self._offsets(places, OffsetSpec.earliest())
        return sum(ends) - sum(begins)

    async def active_groups(self, name: str) -> tuple[str, ...]:
        """List the consumer groups that have a member which reads a topic."""
        listing: Any = await self.ask(
            lambda seconds: self._admin.list_consumer_groups(request_timeout=seconds), "list consumer groups"
        )
        groups = [group.group_id for group in listing.valid if group.state not in _IDLE_GROUPS]
        readers: list[str] = []
        for start in range(0, len(groups), GROUPS_AT_ONCE):
            chunk = groups[start : start + GROUPS_AT_ONCE]
            for group in await self._described_groups(chunk):
                places = [
                    place
                    for member in group.members
                    if member.assignment
                    for place in member.assignment.topic_partitions
                ]
                if any(place.topic == name for place in places):
                    readers.append(group.group_id)
        return tuple(sorted(readers))

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        replicas: int | None,
        config: Mapping[str, str],
        must_be_new: bool = False,
    ) -> None:
        """Create a topic and wait until it is seen; one that is there is left as it is.

        Raises:
            RefusedError: Nothing was made; also where one is there that must be new.
        """
        wish = NewTopic(name, partitions, replicas if replicas is not None else -1, config=dict(config))
        await self.write(
            "create_topic",
            lambda seconds: self._admin.create_topics([wish], operation_timeout=seconds, request_timeout=seconds)[name],
            f"create the topic {name}",
            harmless=None if must_be_new else ALREADY_EXISTS,
        )
        until = time.monotonic() + VISIBLE_SECONDS_MAX
        while not await self._sees_new(name):
            if time.monotonic() > until:
                raise UnavailableError(f"The new topic {name} isn't seen yet.", reason="NotVisibleYet")
            await asyncio.sleep(0.1)

    async def _sees_new(self, name: str) -> bool:
        """Look for a topic that was made: whatever keeps it from being seen doesn't undo that."""
        try:
            return await self.topic(name) is not None
        except RefusedError as error:
            raise UnavailableError(error.message, reason=error.reason) from error

    async def add_partitions(self, name: str, *, partitions: int) -> None:
        """Let a topic have so many partitions."""
        wish = NewPartitions(name, partitions)
        await self.write(
            "add_partitions",
            lambda seconds: self._admin.create_partitions([wish], operation_timeout=seconds, request_timeout=seconds)[
                name
            ],
            f"grow the topic {name} to {partitions} partitions",
        )

    async def set_config(self, name: str, config: Mapping[str, str]) -> None:
        """Set settings of a topic, and leave all others."""
        entries = [
            ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
            for setting, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        await self.write(
            "set_config",
            lambda seconds: self._admin.incremental_alter_configs([resource], request_timeout=seconds)[resource],
            f"configure the topic {name}",
        )

    async def delete_topic(self, name: str) -> None:
        """Delete a topic; one that isn't there is fine."""
        await self.write(
            "delete_topic",
            lambda seconds: self._admin.delete_topics([name], operation_timeout=seconds, request_timeout=seconds)[name],
            f"delete the topic {name}",
            harmless=UNKNOWN_TOPIC,
        )

    async def ask(self, question: Question[T], what: str, *, harmless: int | None = None) -> T | None:
        """Ask a question of librdkafka's client; None where the answer is the harmless error."""
        return await self._await(question, READ_SECONDS_MAX, what, harmless)

    async def write(self, verb: str, question: Question[T], what: str, *, harmless: int | None = None) -> T | None:
        """Write by librdkafka's client, within the fence; the harmless error counts as done."""
        seconds = self._fence.write_seconds(WRITE_SECONDS_MAX)
        self._metrics.writes.labels("kafka", verb).inc()
        logger.info("write", target="kafka", verb=verb, what=what, seconds_max=round(seconds, 3))
        return await self._await(question, seconds, what, harmless)

    async def _await(self, question: Question[T], seconds: float, what: str, harmless: int | None) -> T | None:
        self._check_up()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(question(seconds)), seconds + 1.0)
        except TimeoutError as error:
            self._note_down()
            raise UnavailableError(f"Kafka can't {what} in {seconds:g} s.", reason="KafkaUnreachable") from error
        except KafkaException as error:
            if harmless is not None and code_of(error) == harmless:
                return None
            meaning = meaning_of(error, what)
            if isinstance(meaning, UnavailableError) and is_silence(error):
                self._note_down()
            raise meaning from error

    def _check_up(self) -> None:
        if time.monotonic() < self._down_until:
            raise UnavailableError("Kafka didn't answer a moment ago.", reason="KafkaUnreachable")

    def _note_down(self) -> None:
        self._down_until = time.monotonic() + DOWN_SECONDS

    async def _describe_topics(self, names: Sequence[str]) -> dict[str, TopicSight | Exception | None]:
        described = await self._each(
            lambda seconds: self._admin.describe_topics(TopicCollection(list(names)), request_timeout=seconds)
        )
        there = [name for name, answer in described.items() if not isinstance(answer, Exception)]
        configs = await self._configs(there) if there else {}
        return {name: _sight_of(described[name], configs.get(name)) for name in names}

    async def _configs(self, names: Sequence[str]) -> dict[str, Mapping[str, str] | Exception]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers = await self._each(lambda seconds: self._admin.describe_configs(resources, request_timeout=seconds))
        return {
            resource.name: answer
            if isinstance(answer, Exception)
            else {name: entry.value for name, entry in answer.items() if entry.value is not None}
            for resource, answer in answers.items()
        }

    async def _each(self, question: Questions) -> dict[Any, Any]:
        """Ask for several at once; an answer that is an error belongs to that one alone."""
        self._check_up()
        futures = question(READ_SECONDS_MAX)
        try:
            answers = await asyncio.wait_for(
                asyncio.gather(*(asyncio.wrap_future(future) for future in futures.values()), return_exceptions=True),
                READ_SECONDS_MAX + 1.0,
            )
        except TimeoutError as error:
            self._note_down()
            message = f"Kafka doesn't answer in {READ_SECONDS_MAX:g} s."
            raise UnavailableError(message, reason="KafkaUnreachable") from error
        if answers and all(isinstance(answer, KafkaException) and is_silence(answer) for answer in answers):
            self._note_down()
        return dict(zip(futures, answers, strict=True))

    async def _offsets(self, places: Sequence[TopicPartition], which: OffsetSpec) -> list[int]:
        answers = await self._each(
            lambda seconds: self._admin.list_offsets(dict.fromkeys(places, which), request_timeout=seconds)
        )
        for answer in answers.values():
            if isinstance(answer, KafkaException):
                raise meaning_of(answer, "list offsets") from answer
        return [answer.offset for answer in answers.values()]

    async def _described_groups(self, names: Sequence[str]) -> list[Any]:
        answers = await self._each(
            lambda seconds: self._admin.describe_consumer_groups(list(names), request_timeout=seconds)
        )
        for answer in answers.values():
            if isinstance(answer, KafkaException):
                raise meaning_of(answer, "describe consumer groups") from answer
        return list(answers.values())


def _sight_of(described: Any, config: Mapping[str, str] | Exception | None) -> TopicSight | Exception | None:
    for answer in (described, config):
        if isinstance(answer, KafkaException):
            return None if code_of(answer) == UNKNOWN_TOPIC else meaning_of(answer, "describe topics")
        if isinstance(answer, Exception):
            return answer
    if config is None:
        return None
    replicas = [len(partition.replicas) for partition in described.partitions]
    return TopicSight(
        id=str(described.topic_id),
        partitions=len(described.partitions),
        replicas=min(replicas, default=0),
        config=config,  # type: ignore[arg-type] # what isn't a mapping was returned above
        internal=bool(described.is_internal) or described.name.startswith("__"),
    )
