"""From the outbox to the broker.

Each process runs a relay on each of its streams; a lease lets one of them publish. It takes the packs of events after
the cursor, publishes them with no transaction open, and then moves the cursor, if the lease is still its own by the
fencing token.

A relay that was paused past its lease may publish events again that its successor published. That changes no order:
every relay publishes without a gap, upwards, from a cursor up to which everything was published, so that the first copy
of each event comes after the first copies of all before it. Consumers drop the other copies by their event ids.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter

from services.runtime.backoff import jittered_seconds
from services.runtime.broker.message_spans import recorded_messages
from services.runtime.broker.port import Message, Producer
from services.runtime.clock import Clock, SystemClock
from services.runtime.database.port import Database
from services.runtime.errors import UnavailableError
from services.runtime.outbox_lease import RelayLease
from services.runtime.outbox_packs import PACK_EVENTS_MAX, OutboxEvent, Pack, read_packs
from services.runtime.outbox_pruning import OutboxPruner, PruningMetrics
from services.runtime.step_size import StepSize
from services.runtime.tracing import SpanRecorder, StepKind
from services.runtime.turns import in_turns
from services.runtime.waiting import until_one_ends

logger = structlog.get_logger(__name__)

PACKS_OF_TURN = 4
"""How many packs become messages before the event loop turns: a millisecond or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """How a relay works.

    Attributes:
        batch_events_max: Events of one publish, and of one move of the cursor, give or take a pack.
        poll_seconds: How long an event waits at most when nobody woke the relay: one that another process wrote.
        others_poll_seconds: The same where other processes write too, as they do beside each other: for as long as a
            lease from the last event on that nobody had woken the relay for.
        linger_seconds: How long events wait for company before they are published, unless a whole batch of them waits
            already; a look, a publish and a move of the cursor cost the same for one event as for a hundred.
        cursor_every_seconds: How often the cursor is written at most. A relay that dies has its successor publish again
            what it published since; each write is a commit that other commits wait for.
        lease_seconds: How long a relay that died keeps others from publishing.
        retry_first_seconds: The longest wait after the first failure.
        retry_longest_seconds: The longest wait after many.
        retention: How long published events are kept, as history; None keeps them.
        prune_every_seconds: How often old ones are looked for.
        prune_step_packs: How many go in one transaction.
        prune_step_seconds: How long it may take; on SQLite all that write wait for it.
    """

    batch_events_max: int = 1_024
    poll_seconds: float = 0.5
    others_poll_seconds: float = 0.05
    linger_seconds: float = 0.0
    cursor_every_seconds: float = 0.5
    lease_seconds: float = 5.0
    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 5.0
    retention: timedelta | None = timedelta(days=7)
    prune_every_seconds: float = 60.0
    prune_step_packs: int = 256
    prune_step_seconds: float = 0.05


class RelayMetrics:
    """What the relays of one service count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.published = Counter(
            "tradeflow_outbox_published", "Events published from the outbox.", ["stream"], registry=registry
        )
        self.failures = Counter(
            "tradeflow_outbox_failures", "Attempts to publish that failed.", ["stream"], registry=registry
        )
        self.pruning = PruningMetrics(registry)


class OutboxRelay:
    """Publishes the events of one stream. `run` it once in a process."""

    def __init__(
        self,
        database: Database,
        producer: Producer,
        stream: str,
        clock: Clock | None = None,
        settings: RelaySettings | None = None,
        metrics: RelayMetrics | None = None,
        recorder: SpanRecorder | None = None,
        message_of: Callable[[OutboxEvent], Message] = OutboxEvent.to_message,
    ) -> None:
        """Prepare a relay.

        Args:
            database: Where the stream's events are.
            producer: Where they go.
            stream: The stream's name.
            clock: Leases and waits follow it.
            settings: How it works.
            metrics: What it counts; several relays may share it.
            recorder: Where publishing is recorded as spans.
            message_of: Makes what is published of an event, where the outbox keeps another form of it.
        """
        self._message_of = message_of
        self._recorder = recorder
        self._database = database
        self._producer = producer
        self._stream = stream
        self._clock = clock or SystemClock()
        self._settings = settings or RelaySettings()
        self._metrics = metrics or RelayMetrics(CollectorRegistry())
        self._lease = RelayLease(
            database,
            stream,
            self._clock,
            lease_seconds=self._settings.lease_seconds,
            cursor_every_seconds=self._settings.cursor_every_seconds,
        )
        size = StepSize(rows_max=self._settings.prune_step_packs, seconds_max=self._settings.prune_step_seconds)
        self._pruner = OutboxPruner(database, stream, self._lease, size, self._metrics.pruning)
        self._woken = asyncio.Event()
        self._others_write_until = self._prune_at = self._clock.now()

    def wake(self) -> None:
        """Say that a transaction with events was committed."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        failures, woken = 0, True
        try:
            while True:
                self._woken.clear()
                try:
                    published = await self.publish_next()
                    pruned_all = await self._prune_when_due()
                    failures = 0
                except UnavailableError as error:
                    await self._after_failure(error, failures)
                    failures += 1
                    continue
                if published and not woken:
                    self._others_write_until = self._clock.now() + timedelta(seconds=self._settings.lease_seconds)
                woken = True
                if pruned_all and not self._may_have_left_some(published):
                    woken = await self._wait()
                if published < self._settings.batch_events_max and self._settings.linger_seconds:
                    await self._clock.sleep(self._settings.linger_seconds)
        finally:
            await self._release()

    def _may_have_left_some(self, published: int) -> bool:
        """Tell whether more may wait than was read; what is committed later wakes the relay."""
        return published > max(0, self._settings.batch_events_max - PACK_EVENTS_MAX)

    async def _after_failure(self, error: UnavailableError, failures: int) -> None:
        self._metrics.failures.labels(self._stream).inc()
        logger.warning("outbox_publish_failed", stream=self._stream, reason=error.reason, error=error.message)
        await self._clock.sleep(
            jittered_seconds(
                failures,
                first_seconds=self._settings.retry_first_seconds,
                longest_seconds=self._settings.retry_longest_seconds,
            )
        )

    async def publish_next(self) -> int:
        """Publish one batch and return the number of its events; 0 when there are none, or another relay is publishing.

        Raises:
            UnavailableError: Neither the database nor the broker lost anything; try again.
        """
        if not self._lease.is_held and await self._lease.is_anothers():
            return 0
        packs = await self._next_packs()
        if not packs:
            # Nothing more is written while nothing happens: the lease may run out, and is taken again when needed.
            await self._write_cursor(self._lease.write_cursor())
            return 0
        if not self._lease.is_fresh:
            if not await self._lease.take():
                return 0
            # Others may have moved the cursor before the lease was taken.
            packs = await self._next_packs()
        return await self._publish(packs) if packs else 0

    async def _next_packs(self) -> list[Pack]:
        cursor_sequence = await self._lease.cursor_sequence()
        async with self._database.snapshot() as connection:
            return await read_packs(
                connection,
                self._stream,
                after_sequence=cursor_sequence,
                events_max=self._settings.batch_events_max,
            )

    async def _publish(self, packs: list[Pack]) -> int:
        messages = [
            self._message_of(event) async for pack in in_turns(packs, of_turn=PACKS_OF_TURN) for event in pack.events
        ]
        with recorded_messages(self._recorder, StepKind.PRODUCER, messages) as continued:
            await self._producer.publish(continued)
        await self._write_cursor(self._lease.advance(packs[-1].sequence))
        self._metrics.published.labels(self._stream).inc(len(messages))
        return len(messages)

    async def _write_cursor(self, written: Awaitable[bool]) -> None:
        if not await written:
            logger.warning("outbox_lease_lost", stream=self._stream)

    async def _wait(self) -> bool:
        """Wait for a wake or for the next look, whichever is first; tell whether it was a wake."""
        others_write = self._clock.now() < self._others_write_until
        poll_seconds = self._settings.others_poll_seconds if others_write else self._settings.poll_seconds
        await until_one_ends(self._woken.wait(), self._clock.sleep(poll_seconds))
        return self._woken.is_set()

    async def _release(self) -> None:
        try:
            await self._lease.release()
        except UnavailableError:
            logger.info("outbox_lease_kept", stream=self._stream)

    async def _prune_when_due(self) -> bool:
        """Delete one step's worth, so that publishing goes on in between; tell whether nothing is left to delete."""
        now = self._clock.now()
        if self._settings.retention is None or now < self._prune_at:
            return True
        if await self._pruner.step(recorded_before=now - self._settings.retention):
            return False
        self._prune_at = now + timedelta(seconds=self._settings.prune_every_seconds)
        return True

    async def prune(self, *, recorded_before: datetime) -> int:
        """Delete the packs of published events that were recorded before an instant; return how many.

        It does so in short transactions, and only while no other relay publishes.
        """
        deleted = 0
        while step := await self._pruner.step(recorded_before=recorded_before):
            deleted += step
        return deleted
