"""Reads the topic wallet-events: all of it in each replica, from now on, and gives each event to who it is for.

No group: every replica has other people connected to it. Nothing is committed and nothing is lost: what was published
while this replica wasn't reading, its connections fetch from the ledger, since the feed's continuity is then broken.
"""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from services.gateway.inbound.wallet_event_json import MalformedEventError, notice_of
from services.gateway.metrics import GatewayMetrics
from services.gateway.ports import WalletHistory, WalletNotice
from services.gateway.wallet_feed import WalletFeed
from services.runtime.backoff import jittered_seconds
from services.runtime.broker.message_spans import recorded_messages
from services.runtime.broker.port import Broker, Consumer, ReceivedMessage
from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError
from services.runtime.tracing import HEADER, SpanRecorder, StepKind

logger = structlog.get_logger(__name__)

TOPIC = "wallet-events"
"""Written by the ledger; key: the wallet's id."""

BATCH_MESSAGES_MAX = 500
"""Messages handled at once: one round trip to Redis for each batch."""

QUEUE_SHARE = 2
"""A batch takes at most one part of so many of a connection's queue: all of it may be one wallet's, and a reader that
keeps up must not overflow before it had its turn."""

POLL_SECONDS = 1.0
"""How long one poll waits for messages."""


class WalletEventsReader:
    """Tails the topic."""

    def __init__(
        self,
        broker: Broker,
        *,
        feed: WalletFeed,
        history: WalletHistory,
        clock: Clock,
        metrics: GatewayMetrics,
        recorder: SpanRecorder | None = None,
    ) -> None:
        """Read from `broker`, and record what is done with events in `recorder`."""
        self._recorder = recorder
        self._broker = broker
        self._feed = feed
        self._history = history
        self._clock = clock
        self._metrics = metrics
        self._messages_max = max(1, min(BATCH_MESSAGES_MAX, feed.queue_events_max // QUEUE_SHARE))
        self._consumer: Consumer | None = None

    async def start(self) -> None:
        """Take the place in the log from which everything is seen; connections may be accepted after this.

        Where the broker is away, `run` takes one once it can, and connections are told that they missed something.
        """
        try:
            await self._take_place()
        except UnavailableError as error:
            logger.warning("wallet_events_not_read", error=error.message)

    async def _take_place(self) -> None:
        consumer = await self._broker.tailing_consumer(topics=[TOPIC])
        self._consumer = consumer
        await self._handle(await consumer.poll(messages_max=self._messages_max, timeout_seconds=0.0))

    async def run(self) -> None:
        """Read until cancelled; whatever ends this, the next run begins with a new place and a broken continuity."""
        if self._consumer is None:
            await self._take_place()
            self._feed.lose_continuity()
        try:
            failures = 0
            while True:
                failures = 0 if await self._read_once() else failures + 1
                if failures:
                    await self._clock.sleep(jittered_seconds(failures, first_seconds=0.1, longest_seconds=5.0))
        finally:
            await self._leave()

    async def _read_once(self) -> bool:
        """Handle what comes; say whether the broker answered."""
        if self._consumer is None:
            raise RuntimeError("the reader was not started")
        try:
            messages = await self._consumer.poll(messages_max=self._messages_max, timeout_seconds=POLL_SECONDS)
        except UnavailableError as error:
            logger.warning("wallet_events_not_read", error=error.message)
            return False
        with recorded_messages(self._recorder, StepKind.CONSUMER, messages) as continued:
            await self._handle(continued)
        return True

    async def _handle(self, messages: Sequence[ReceivedMessage]) -> None:
        notices = [notice for message in messages if (notice := self._notice(message)) is not None]
        if not notices:
            return
        self._metrics.wallet_events.inc(len(notices))
        # The history first: who subscribes between the two finds the event in it.
        try:
            await self._history.append(notices)
        except UnavailableError:
            self._metrics.history_failures.inc(len(notices))
        for notice in notices:
            self._feed.publish(notice)

    def _notice(self, message: ReceivedMessage) -> WalletNotice | None:
        try:
            notice = notice_of(message.value)
        except MalformedEventError as error:
            # Nothing to park it for: the ledger has the events, and a gap is fetched from there.
            self._metrics.malformed_events.inc()
            logger.warning(
                "wallet_event_malformed", offset=message.offset, partition=message.partition, error=str(error)
            )
            return None
        return None if notice is None else replace(notice, traceparent=message.headers.get(HEADER, ""))

    async def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()
