"""Publishing to Kafka: idempotent, and durable on all replicas that are in sync before it returns.

What is given up is given up together: of messages that weren't published, none follows one that was. librdkafka's own
limit is each message's, and would give up the first ones of a publish while those behind them go out.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from services.runtime.broker.kafka_errors import LIBRARY_LOGGER, closed_error, error_of
from services.runtime.broker.kafka_url import KafkaCluster
from services.runtime.broker.port import Message
from services.runtime.errors import TradeFlowError

DELIVERY_SECONDS_MAX = 30.0
"""How long librdkafka repeats messages before publishing fails. The outbox's relay then publishes all again."""

CLOSING_SECONDS_MAX = 3.0
"""How long messages under way may take once the producer is closed: a process has 20 s for its end, and librdkafka
would repeat them for longer while the cluster is away."""

LINGER_MILLIS = 2
"""How long librdkafka waits for company: publishers come with whole batches already."""

_POLL_SECONDS = 0.1


class KafkaProducer:
    """Fits `Producer`. All publishers of a broker share it: librdkafka batches what they send at once."""

    def __init__(self, cluster: KafkaCluster, *, delivery_seconds_max: float = DELIVERY_SECONDS_MAX) -> None:
        """Prepare; the first publishing connects."""
        self._config: dict[str, Any] = {
            **cluster.client_config(),
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": 0,  # none: see above
            "linger.ms": LINGER_MILLIS,
            "compression.type": "lz4",
        }
        self._cluster = cluster
        self._delivery_seconds_max = delivery_seconds_max
        self._producer: Producer | None = None
        self._closed = False
        self._gives_up_at_seconds = math.inf
        # One thread: messages of two publishers keep the order in which they came.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-producer")

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order and return once all of them are durable.

        Raises:
            UnavailableError: Some may be published and some not; publish all again.
            NotFoundError: A topic doesn't exist (`topic_missing`).
            InvalidArgumentError: A message is larger than the cluster takes (`message_too_large`).
        """
        if self._closed:
            raise closed_error()
        if messages:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._publish, messages)

    def _publish(self, messages: Sequence[Message]) -> None:
        producer = self._producer = self._producer or Producer(self._config, logger=LIBRARY_LOGGER)
        until_seconds = time.monotonic() + self._delivery_seconds_max
        unsettled = 0
        failures: list[TradeFlowError] = []

        def settled(error: KafkaError | None, message: KafkaMessage) -> None:
            nonlocal unsettled
            unsettled -= 1
            if error is not None:
                failures.append(error_of(error, f"publishing to {message.topic()}", self._cluster.troubles))

        for message in messages:
            failure = self._produce(producer, message, settled, until_seconds)
            if failure is not None:
                failures.append(failure)
            else:
                unsettled += 1
            if failures:
                break
        while unsettled:
            self._serve(producer, until_seconds)
        if failures:
            # Its sequence numbers may be in doubt: a new one begins with new ones.
            self._producer = None
            raise failures[0]
        self._cluster.troubles.entered()

    def _produce(
        self,
        producer: Producer,
        message: Message,
        settled: Callable[[KafkaError | None, KafkaMessage], None],
        until_seconds: float,
    ) -> TradeFlowError | None:
        """Hand over a message, or tell why it isn't taken: it is too large, too late, or the producer is done for."""
        topic = self._cluster.full(message.topic)
        headers: list[tuple[str, str | bytes | None]] = [
            (name, value.encode()) for name, value in message.headers.items()
        ]
        while True:
            try:
                producer.produce(topic, message.value, message.key, on_delivery=settled, headers=headers)
            except BufferError:
                # Its queue is full: what is in it goes first, or all is given up.
                if self._serve(producer, until_seconds):
                    given_up = KafkaError(KafkaError._PURGE_QUEUE)  # noqa: SLF001 - librdkafka's own name
                    return error_of(given_up, f"publishing to {topic}", self._cluster.troubles)
            except KafkaException as raised:
                return error_of(raised.args[0], f"publishing to {topic}")
            else:
                producer.poll(0)
                return None

    def _serve(self, producer: Producer, until_seconds: float) -> bool:
        """Wait a moment for deliveries, and fail all that are left once their time is over; tell whether it was."""
        producer.poll(_POLL_SECONDS)
        is_over = time.monotonic() >= min(until_seconds, self._gives_up_at_seconds)
        if is_over:
            producer.purge()
        return is_over

    async def close(self) -> None:
        """Publish no more; what is under way ends first, or fails within `CLOSING_SECONDS_MAX`."""
        self._closed = True
        self._gives_up_at_seconds = min(self._gives_up_at_seconds, time.monotonic() + CLOSING_SECONDS_MAX)
        await asyncio.to_thread(self._thread.shutdown)
