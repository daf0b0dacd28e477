"""From the broker into a handler, batch by batch, for as long as the process lives.

The handler writes its effects and the inbox in one transaction; offsets are committed after that, so that a crash
repeats messages and loses none. What can't be handled now is tried again; what can't be handled ever goes to the dead
letters, and later messages of the same key park behind it there, so that none overtakes it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.backoff import jittered_seconds
from services.runtime.broker.port import (
    DEAD_LETTERS_SUFFIX,
    LEASE_LOST_REASON,
    Consumer,
    Message,
    Producer,
    ReceivedMessage,
)
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import TradeFlowError, UnavailableError

_log = structlog.get_logger(__name__)

PARKED_REASON = "parked"
"""`dlq-reason` of a message that could be handled, but came after one of the same key that couldn't."""

T = TypeVar("T")

Handler = Callable[[list[ReceivedMessage]], Awaitable[None]]
"""Handles messages in order; all of them take effect, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How a loop works.

    Attributes:
        batch_messages_max: Messages handed to the handler at once.
        poll_seconds: How long one poll waits.
        retry_first_seconds: The longest wait before the first repetition.
        retry_longest_seconds: The longest wait after many.
        dead_letters_max: Dead letters, parked ones included, after which the loop stops: by then it is the handler.
    """

    batch_messages_max: int = 500
    poll_seconds: float = 1.0
    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 10.0
    dead_letters_max: int = 100


class ConsumerMetrics:
    """What the consumer loops of one service count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.handled = Counter("tradeflow_consumer_handled", "Messages handled.", ["consumer"], registry=registry)
        self.retries = Counter(
            "tradeflow_consumer_retries", "Attempts that are made again.", ["consumer"], registry=registry
        )
        self.dead_letters = Counter(
            "tradeflow_consumer_dead_letters", "Messages put aside.", ["consumer", "reason"], registry=registry
        )
        self.healthy = Gauge(
            "tradeflow_consumer_healthy",
            "0 once the consumer stopped over its dead letters.",
            ["consumer"],
            registry=registry,
        )


class _TooManyDeadLettersError(Exception):
    """The limit is reached: stop, and leave what isn't handled uncommitted."""


class ConsumerLoop:
    """Feeds one handler from one consumer. `run` it once."""

    def __init__(
        self,
        consumer: Consumer,
        handle: Handler,
        dead_letters: Producer,
        *,
        name: str,
        clock: Clock | None = None,
        settings: LoopSettings | None = None,
        metrics: ConsumerMetrics | None = None,
    ) -> None:
        """Prepare a loop.

        Args:
            consumer: Where messages come from; the caller closes it.
            handle: What to do with them. It gets messages again after a crash or an `UnavailableError`.
            dead_letters: Publishes to the topics' dead-letter topics, which must exist.
            name: Who handles them, in metrics, logs and dead letters.
            clock: Waits follow it.
            settings: How it works.
            metrics: What it counts; several loops may share it.
        """
        self._consumer = consumer
        self._handle = handle
        self._dead_letters = dead_letters
        self._name = name
        self._clock = clock or SystemClock()
        self._settings = settings or LoopSettings()
        self._metrics = metrics or ConsumerMetrics(CollectorRegistry())
        self._dead_letter_count = 0
        self._parked_keys: set[tuple[str, bytes]] = set()
        self._healthy = True
        self._metrics.healthy.labels(name).set(1)

    @property
    def healthy(self) -> bool:
        """Tell whether it is at work; False once it stopped over its dead letters, until the process is restarted."""
        return self._healthy

    async def run(self) -> None:
        """Handle messages until cancelled. Over the limit of dead letters, handle no more and only wait for the end."""
        try:
            while True:
                await self._handle_next()
        except _TooManyDeadLettersError:
            self._healthy = False
            self._metrics.healthy.labels(self._name).set(0)
            _log.error("consumer_stopped", consumer=self._name, dead_letters=self._dead_letter_count)
            await asyncio.Event().wait()

    async def _handle_next(self) -> None:
        messages = await self._persist(self._poll)
        if messages:
            await self._handle_or_bisect(messages)
            await self._commit(messages)

    async def _poll(self) -> list[ReceivedMessage]:
        return await self._consumer.poll(
            messages_max=self._settings.batch_messages_max, timeout_seconds=self._settings.poll_seconds
        )

    async def _handle_or_bisect(self, messages: list[ReceivedMessage]) -> None:
        """Handle messages, or find the ones that can't be: the first half always goes before the second."""
        messages = await self._park_followers(messages)
        if not messages:
            return
        try:
            await self._persist(lambda: self._handle(messages))
        except Exception as error:  # noqa: BLE001 - the edge of the loop: a bug in a handler must not stop its topic
            if len(messages) == 1:
                await self._reject(messages[0], error)
                return
            middle = len(messages) // 2
            await self._handle_or_bisect(messages[:middle])
            await self._handle_or_bisect(messages[middle:])
        else:
            self._metrics.handled.labels(self._name).inc(len(messages))

    async def _park_followers(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Put those aside whose key has a dead letter already, and return the others."""
        others: list[ReceivedMessage] = []
        for message in messages:
            if (message.topic, message.key) in self._parked_keys:
                await self._put_aside(message, PARKED_REASON)
            else:
                others.append(message)
        return others

    async def _reject(self, message: ReceivedMessage, error: Exception) -> None:
        reason = error.reason if isinstance(error, TradeFlowError) else type(error).__name__
        _log.error(
            "message_rejected",
            consumer=self._name,
            topic=message.topic,
            offset=message.offset,
            reason=reason,
            exc_info=error,
        )
        await self._put_aside(message, reason)
        self._parked_keys.add((message.topic, message.key))

    async def _put_aside(self, message: ReceivedMessage, reason: str) -> None:
        if self._dead_letter_count >= self._settings.dead_letters_max:
            raise _TooManyDeadLettersError
        letter = Message(
            topic=f"{message.topic}{DEAD_LETTERS_SUFFIX}",
            key=message.key,
            value=message.value,
            headers={
                **message.headers,
                "dlq-reason": reason,
                "dlq-topic": message.topic,
                "dlq-partition": str(message.partition),
                "dlq-offset": str(message.offset),
                "dlq-consumer": self._name,
            },
        )
        await self._persist(lambda: self._dead_letters.publish([letter]))
        self._dead_letter_count += 1
        self._metrics.dead_letters.labels(self._name, reason).inc()

    async def _commit(self, messages: list[ReceivedMessage]) -> None:
        try:
            await self._persist(lambda: self._consumer.commit(messages), given_up_reason=LEASE_LOST_REASON)
        except UnavailableError:
            # The next of the group gets these again, and its inbox drops them.
            _log.warning("consumer_lease_lost", consumer=self._name)

    async def _persist(self, job: Callable[[], Awaitable[T]], *, given_up_reason: str | None = None) -> T:
        """Try until it is done; anything but `UnavailableError` ends it, and that one for one reason too."""
        attempt = 0
        while True:
            try:
                return await job()
            except UnavailableError as error:
                if error.reason == given_up_reason:
                    raise
                _log.warning("consumer_retries", consumer=self._name, reason=error.reason, error=error.message)
            self._metrics.retries.labels(self._name).inc()
            await self._clock.sleep(
                jittered_seconds(
                    attempt,
                    first_seconds=self._settings.retry_first_seconds,
                    longest_seconds=self._settings.retry_longest_seconds,
                )
            )
            attempt += 1
