"""From the broker into a handler, batch by batch, for as long as the process lives.

The handler writes its effects and the inbox in one transaction; offsets are committed after that, so that a crash
repeats messages and loses none. What can't be handled now is tried again; what can't be handled ever goes to the dead
letters, and later messages of the same key park behind it there, so that none overtakes it. They stay parked past any
restart, until a person redrives or discards them (`dead_letters`).

Where too much can't be handled, the handler is at fault: nothing more is put aside then, and what is in hand is tried
again from time to time, until it can be handled or may be put aside again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.backoff import jittered_seconds
from services.runtime.broker.message_spans import recorded_messages
from services.runtime.broker.port import LEASE_LOST_REASON, Consumer, Place, ReceivedMessage
from services.runtime.clock import Clock, SystemClock
from services.runtime.consumer_lag import LagWatch
from services.runtime.dead_letters import PARKED_REASON, Origin, redriven_origin
from services.runtime.errors import TradeFlowError, UnavailableError
from services.runtime.letter_limit import LetterLimit
from services.runtime.letters_watch import LettersWatch
from services.runtime.messages_in_hand import MessagesInHand
from services.runtime.parking import Parking
from services.runtime.tracing import SpanRecorder, StepKind

logger = structlog.get_logger(__name__)

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
        dead_letters_max: Dead letters within `dead_letters_seconds`, parked ones included, after which the loop stands
            still for as long as so many wait: by then the handler is at fault, and not its messages.
        dead_letters_seconds: For how long each counts; a handler at fault fills the dead letters no faster than that.
        stopped_seconds: How long a loop that stopped waits before it tries again. What was at fault may be mended
            without a restart: a wrong setting of another service, letters that were discarded.
    """

    batch_messages_max: int = 500
    poll_seconds: float = 1.0
    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 10.0
    dead_letters_max: int = 100
    dead_letters_seconds: float = 3600.0
    stopped_seconds: float = 60.0


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
            "0 while the consumer stands still over its dead letters.",
            ["consumer"],
            registry=registry,
        )
        self.waiting = Gauge(
            "tradeflow_consumer_dead_letters_waiting",
            "Dead letters that wait to be redriven or discarded, as far as this process knows.",
            ["consumer"],
            registry=registry,
        )
        self.lag_messages = Gauge(
            "tradeflow_consumer_lag_messages",
            "Messages that the consumer's group has not handled.",
            ["consumer", "topic", "partition"],
            registry=registry,
        )


class _TooManyDeadLettersError(Exception):
    """The limit is reached: stop for a while, and leave what isn't handled uncommitted."""


class ConsumerLoop:
    """Feeds one handler from one consumer. `run` it once at a time."""

    def __init__(
        self,
        consumer: Consumer,
        handle: Handler,
        parking: Parking,
        *,
        clock: Clock | None = None,
        settings: LoopSettings | None = None,
        metrics: ConsumerMetrics | None = None,
        recorder: SpanRecorder | None = None,
    ) -> None:
        """Prepare a loop.

        Args:
            consumer: Where messages come from; the caller closes it.
            handle: What to do with them. It gets messages again after a crash or an `UnavailableError`.
            parking: Keeps what can't be handled, and names the consumer in metrics and logs.
            clock: Waits follow it.
            settings: How it works.
            metrics: What it counts; several loops may share it.
            recorder: Where handled messages are recorded as spans.
        """
        self._recorder = recorder
        self._consumer = consumer
        self._handle = handle
        self._parking = parking
        self._name = parking.consumer_name
        self._clock = clock or SystemClock()
        self._settings = settings or LoopSettings()
        self._metrics = metrics or ConsumerMetrics(CollectorRegistry())
        self._limit = LetterLimit(
            letters_max=self._settings.dead_letters_max,
            span_seconds=self._settings.dead_letters_seconds,
            clock=self._clock,
        )
        self._next_offsets: dict[Place, int] = {}
        # The consumer gives them out once: a run that crashed with them leaves them to the next.
        self._in_hand = MessagesInHand()
        self._healthy = True
        self._lag = LagWatch(consumer, self._metrics.lag_messages, name=self._name, clock=self._clock)
        self._letters = LettersWatch(parking, self._metrics.waiting, clock=self._clock)

    @property
    def healthy(self) -> bool:
        """Tell whether it may work; False while it stands still over its dead letters."""
        return self._healthy

    async def run(self) -> None:
        """Handle messages until cancelled. Over the limit of dead letters, only try from time to time.

        After a crash, run it again: it goes on with the messages that it had in hand.
        """
        watches = [asyncio.create_task(watch.run()) for watch in (self._lag, self._letters)]
        self._note_healthy(healthy=self._healthy)
        try:
            while True:
                await self._handle_next_or_rest()
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            # Others handle them from now on, or nobody: what this one last showed would stand for ever.
            self._letters.end()
            self._metrics.healthy.remove(self._name)

    async def _handle_next_or_rest(self) -> None:
        try:
            await self._handle_next()
        except _TooManyDeadLettersError:
            if self._healthy:
                letters_max = self._settings.dead_letters_max
                logger.error("consumer_stopped", consumer=self._name, dead_letters=letters_max)  # noqa: TRY400 - each letter had its own
            self._note_healthy(healthy=False)
            if done := self._in_hand.take_done_in_front():
                await self._commit(done)
            await self._clock.sleep(self._settings.stopped_seconds)
        else:
            if not self._healthy:
                logger.info("consumer_goes_on", consumer=self._name)
                self._note_healthy(healthy=True)

    def _note_healthy(self, *, healthy: bool) -> None:
        self._healthy = healthy
        self._metrics.healthy.labels(self._name).set(healthy)

    async def _handle_next(self) -> None:
        if not self._in_hand.messages:
            self._in_hand.take(await self._persist(self._poll))
        messages = self._in_hand.left
        if messages:
            if not self._follow_on(messages):
                # Another consumer of the group may have put letters aside meanwhile, or an earlier process.
                await self._catch_up()
            await self._handle_or_bisect(messages)
        if self._in_hand.messages:
            await self._commit(self._in_hand.messages)
        self._in_hand.take(())

    def _follow_on(self, messages: Sequence[ReceivedMessage]) -> bool:
        """Tell whether these are next to what this loop handled before, in each partition."""
        follow_on = True
        for message in messages:
            place = (message.topic, message.partition)
            follow_on = follow_on and self._next_offsets.get(place) == message.offset
            self._next_offsets[place] = message.offset + 1
        return follow_on

    async def _catch_up(self) -> None:
        await self._persist(self._parking.catch_up)
        self._letters.show()

    async def _poll(self) -> list[ReceivedMessage]:
        return await self._consumer.poll(
            messages_max=self._settings.batch_messages_max, timeout_seconds=self._settings.poll_seconds
        )

    async def _handle_or_bisect(self, messages: list[ReceivedMessage]) -> None:
        """Handle messages, or find the ones that can't be: the first half always goes before the second."""
        messages = await self._without_letters(messages)
        if not messages:
            return
        try:
            await self._persist(lambda: self._handle_recorded(messages))
        except Exception as error:  # noqa: BLE001 - the edge of the loop: a bug in a handler must not stop its topic
            if len(messages) == 1:
                await self._reject(messages[0], error)
                return
            middle = len(messages) // 2
            await self._handle_or_bisect(messages[:middle])
            await self._handle_or_bisect(messages[middle:])
        else:
            self._in_hand.note_done(messages)
            self._metrics.handled.labels(self._name).inc(len(messages))

    async def _handle_recorded(self, messages: list[ReceivedMessage]) -> None:
        with recorded_messages(self._recorder, StepKind.CONSUMER, messages) as continued:
            await self._handle(list(continued))

    async def _without_letters(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Park those whose key has letters that wait, handle those that are redriven, and return the others."""
        if any(self._parking.letters_before(message) or self._redrives(message) for message in messages):
            await self._catch_up()
        others: list[ReceivedMessage] = []
        for message in messages:
            letter_origin = self._redrives(message)
            if letter_origin is not None:
                await self._handle_redriven(message, letter_origin)
                self._in_hand.note_done([message])
            elif self._parking.letters_before(message):
                await self._put_aside(message, PARKED_REASON)
            else:
                others.append(message)
        return others

    def _redrives(self, message: ReceivedMessage) -> Origin | None:
        origin = redriven_origin(message)
        return origin if origin is not None and origin.consumer == self._name else None

    async def _handle_redriven(self, message: ReceivedMessage, origin: Origin) -> None:
        """Handle the oldest letter of its key and settle it; any other stays where it is."""
        letters = self._parking.letters_before(message)
        if not letters or letters[0].origin != origin:
            waits = any(letter.origin == origin for letter in letters)
            logger.warning("redriven_message_passed_over", consumer=self._name, letter=str(origin), waits=waits)
            return
        try:
            await self._persist(lambda: self._handle_recorded([message]))
        except Exception:  # the edge of the loop: the letter waits on
            logger.exception("redriven_message_rejected", consumer=self._name, letter=str(origin))
            return
        await self._persist(lambda: self._parking.settle(letters[0]))
        self._metrics.handled.labels(self._name).inc()
        self._letters.show()

    async def _reject(self, message: ReceivedMessage, error: Exception) -> None:
        reason = error.reason if isinstance(error, TradeFlowError) else type(error).__name__
        logger.error(
            "message_rejected",
            consumer=self._name,
            topic=message.topic,
            offset=message.offset,
            reason=reason,
            exc_info=error,
        )
        await self._put_aside(message, reason)

    async def _put_aside(self, message: ReceivedMessage, reason: str) -> None:
        if any(_is_letter_of(message, letter.origin) for letter in self._parking.letters_before(message)):
            # It came again: its letter was written, and its offset was not.
            self._in_hand.note_done([message])
            return
        # Letters that were redriven or discarded meanwhile make room for others.
        if self._limit.reached and self._parking.count >= self._settings.dead_letters_max:
            raise _TooManyDeadLettersError
        await self._persist(lambda: self._parking.put_aside(message, reason))
        self._in_hand.note_done([message])
        self._limit.note()
        self._metrics.dead_letters.labels(self._name, reason).inc()
        self._letters.show()

    async def _commit(self, messages: Sequence[ReceivedMessage]) -> None:
        try:
            await self._persist(lambda: self._consumer.commit(messages), given_up_reason=LEASE_LOST_REASON)
        except UnavailableError:
            # The next of the group gets these again, and its inbox drops them.
            self._next_offsets.clear()
            logger.warning("consumer_lease_lost", consumer=self._name)

    async def _persist(self, job: Callable[[], Awaitable[T]], *, given_up_reason: str | None = None) -> T:
        """Try until it is done; anything but `UnavailableError` ends it, and that one for one reason too."""
        attempt = 0
        while True:
            try:
                return await job()
            except UnavailableError as error:
                if error.reason == given_up_reason:
                    raise
                logger.warning("consumer_retries", consumer=self._name, reason=error.reason, error=error.message)
            self._metrics.retries.labels(self._name).inc()
            await self._clock.sleep(
                jittered_seconds(
                    attempt,
                    first_seconds=self._settings.retry_first_seconds,
                    longest_seconds=self._settings.retry_longest_seconds,
                )
            )
            attempt += 1


def _is_letter_of(message: ReceivedMessage, origin: Origin) -> bool:
    return (origin.topic, origin.partition, origin.offset) == (message.topic, message.partition, message.offset)
