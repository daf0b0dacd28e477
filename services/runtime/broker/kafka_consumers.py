"""Reading from Kafka: what consumers of a group (`kafka_group`) and those of none (`kafka_log`) have in common.

librdkafka's consumer blocks, and forgets what a cancelled wait had in its hand. So each consumer has a thread, at most
one wait under way in it, and that wait survives whoever asked for it: the next `poll` gets what it brings.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from services.runtime.broker.kafka_admin import KafkaQuestions
from services.runtime.broker.kafka_errors import LIBRARY_LOGGER, closed_error, error_of, translated_errors
from services.runtime.broker.kafka_url import Config, KafkaCluster
from services.runtime.broker.port import Place, ReceivedMessage
from services.runtime.errors import TradeFlowError

WAIT_SECONDS = 0.2
"""The longest single wait in the thread: how late a consumer notices that it is closed."""

QUEUED_KIBIBYTES_MAX = 16 * 1024
"""What librdkafka fetches ahead of a consumer; a slow one holds no more in memory."""

T = TypeVar("T")

_UNCLOSED: set[Consumer] = set()
"""Consumers that nobody closed. The garbage collector must not get one: librdkafka would wait for a callback of ours,
which waits for the collector."""

_END_OF_PARTITION = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's own codes have such names


class KafkaConsumer(ABC):
    """What both kinds do: wait in a thread, and give out what came."""

    def __init__(
        self,
        cluster: KafkaCluster,
        questions: KafkaQuestions,
        config: Config,
        on_close: Callable[["KafkaConsumer"], None],
        *,
        what: str,
    ) -> None:
        """Prepare; nothing is asked of the cluster yet. `what` says in errors what this consumer does."""
        self._questions = questions
        self._cluster = cluster
        self._consumer = Consumer(
            {
                **cluster.client_config(),
                **config,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "queued.max.messages.kbytes": QUEUED_KIBIBYTES_MAX,
                "auto.offset.reset": "earliest",
            },
            logger=LIBRARY_LOGGER,
        )
        _UNCLOSED.add(self._consumer)
        self._what = what
        self._on_close = on_close
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-consumer")
        self._waiting: asyncio.Future[list[ReceivedMessage]] | None = None
        self._ready: list[ReceivedMessage] = []
        self._error: TradeFlowError | None = None
        self._closed = False

    async def poll(self, *, messages_max: int, timeout_seconds: float) -> list[ReceivedMessage]:
        """Return the next messages as soon as there are any, or none after the timeout.

        Raises:
            UnavailableError: The cluster can't be read now.
            NotFoundError: A topic doesn't exist (`topic_missing`).
        """
        until = time.monotonic() + timeout_seconds
        while True:
            if self._closed:
                raise closed_error()
            if not self._ready:
                await self._wait(messages_max, max(0.0, min(WAIT_SECONDS, until - time.monotonic())))
            ready = self._still_ours(self._ready)
            given, self._ready = ready[:messages_max], ready[messages_max:]
            self._note_given(given)
            if given or time.monotonic() >= until:
                return given

    async def _wait(self, messages_max: int, seconds: float) -> None:
        """Take what the wait under way brings, or begin one."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().run_in_executor(
                self._thread, self._receive, messages_max, seconds
            )
        waiting = self._waiting
        await asyncio.wait({waiting})
        self._waiting = None
        if not self._closed:
            self._ready += waiting.result()

    def _receive(self, messages_max: int, seconds: float) -> list[ReceivedMessage]:
        """Wait for one message, and take those that are there behind it.

        librdkafka has moved on behind all that it gave: an error among them is raised by the next call, or they would
        be lost.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        with translated_errors(self._what, self._cluster.troubles):
            first = self._consumer.poll(seconds)
        if first is None:
            self._require_entry()
            return []
        received = self._without_errors([first])
        if messages_max > 1:
            try:
                received += self._without_errors(self._consumer.consume(messages_max - 1, timeout=0))
            except KafkaException as raised:
                self._error = error_of(raised.args[0], self._what, self._cluster.troubles)
        return received

    def _without_errors(self, messages: list[KafkaMessage]) -> list[ReceivedMessage]:
        """Make the port's messages, and keep the last error among them for the next call."""
        received: list[ReceivedMessage] = []
        for message in messages:
            error = message.error()
            if error is None:
                received.append(self._received(message))
            elif error.code() != _END_OF_PARTITION and not self._passes_over(error):
                self._error = error_of(error, self._what, self._cluster.troubles)
        if received:
            self._cluster.troubles.entered()
        return received

    def _require_entry(self) -> None:
        """Say that the cluster doesn't let us in, where nothing but silence would come.

        Raises:
            UnavailableError: `broker_unauthenticated` or `broker_untrusted`.
        """
        trouble = self._cluster.troubles.newest()
        if trouble is not None:
            raise error_of(trouble, self._what)

    def _received(self, message: KafkaMessage) -> ReceivedMessage:
        headers = list(message.headers() or [])
        return ReceivedMessage(
            topic=self._cluster.short(message.topic() or ""),
            key=message.key() or b"",
            value=message.value() or b"",
            headers={str(name): _text(value) for name, value in headers},
            partition=message.partition() or 0,
            offset=message.offset() or 0,
        )

    def _passes_over(self, _error: KafkaError) -> bool:
        """Tell whether an error doesn't concern this kind of consumer."""
        return False

    def _partition_at(self, place: Place, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(self._cluster.full(place[0]), place[1], offset)

    def _place_of(self, partition: TopicPartition) -> Place:
        return self._cluster.short(partition.topic), partition.partition

    async def _ask(self, question: Callable[[], T]) -> T:
        if self._closed:
            raise closed_error()
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)

    async def lag(self) -> Mapping[Place, int]:
        """Count the messages of each partition that it reads now and that are ahead of it; asks the cluster.

        Raises:
            UnavailableError: The cluster doesn't answer.
        """
        next_offsets = await self._ask(self._next_offsets)
        bounds = await asyncio.to_thread(self._questions.bounds, list(next_offsets))
        return {place: _count_ahead(next_offsets[place], *of_log) for place, of_log in bounds.items()}

    async def close(self) -> None:
        """Leave the group."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._consumer.close)
        _UNCLOSED.discard(self._consumer)
        self._thread.shutdown(wait=False)

    @abstractmethod
    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        """Remember that these, and all before them, were handled."""

    @abstractmethod
    def _next_offsets(self) -> dict[Place, int]:
        """Tell where it stands in each partition that it reads, 0 for the beginning; called in the thread."""

    @abstractmethod
    def _note_given(self, messages: list[ReceivedMessage]) -> None:
        """Take note of what is given out."""

    @abstractmethod
    def _still_ours(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Leave out what another consumer reads meanwhile."""


def _count_ahead(next_offset: int, oldest: int, end: int) -> int:
    """Count what is kept from an offset on: all of it where a topic was deleted and made again, and is shorter now."""
    return end - oldest if next_offset > end else end - max(oldest, next_offset)


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
