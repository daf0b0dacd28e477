"""From the outbox to the broker.

Each process runs a relay on each of its streams; a lease lets one of them publish. It takes the events after the
cursor, publishes them with no transaction open, and then moves the cursor, if the lease is still its own by the fencing
token.

A relay that was paused past its lease may publish events again that its successor published. That changes no order:
every relay publishes without a gap, upwards, from a cursor up to which everything was published, so that the first copy
of each event comes after the first copies of all before it. Consumers drop the other copies by their event ids.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.backoff import jittered_seconds
from services.runtime.broker.port import Producer
from services.runtime.clock import Clock, SystemClock
from services.runtime.database.port import Database
from services.runtime.errors import UnavailableError
from services.runtime.outbox_events import COLUMNS, StoredEvent, event_of_row
from services.runtime.outbox_lease import RelayLease
from services.runtime.outbox_pruning import prune_step

_log = structlog.get_logger(__name__)

# The next events to publish.
_READ_NEXT = f"""
    SELECT {COLUMNS} FROM outbox WHERE stream = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""  # noqa: S608 - the columns are a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """How a relay works.

    Attributes:
        batch_events_max: Events of one publish, and of one move of the cursor.
        poll_seconds: How long an event waits when nobody woke the relay: one that another process wrote.
        lease_seconds: How long a relay that died keeps others from publishing.
        retry_first_seconds: The longest wait after the first failure.
        retry_longest_seconds: The longest wait after many.
        retention: How long published events are kept, as history; None keeps them.
        prune_every_seconds: How often old ones are looked for.
        prune_step_events: How many go in one transaction.
    """

    batch_events_max: int = 500
    poll_seconds: float = 0.5
    lease_seconds: float = 5.0
    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 5.0
    retention: timedelta | None = timedelta(days=7)
    prune_every_seconds: float = 60.0
    prune_step_events: int = 1_000


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
        self.lag_seconds = Gauge(
            "tradeflow_outbox_lag_seconds",
            "Age of the oldest event that isn't published yet.",
            ["stream"],
            registry=registry,
        )


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
    ) -> None:
        """Prepare a relay.

        Args:
            database: Where the stream's events are.
            producer: Where they go.
            stream: The stream's name.
            clock: Leases and waits follow it.
            settings: How it works.
            metrics: What it counts; several relays may share it.
        """
        self._database = database
        self._producer = producer
        self._stream = stream
        self._clock = clock or SystemClock()
        self._settings = settings or RelaySettings()
        self._metrics = metrics or RelayMetrics(CollectorRegistry())
        self._lease = RelayLease(database, stream, self._clock, self._settings.lease_seconds)
        self._woken = asyncio.Event()
        self._prune_at = self._clock.now()

    def wake(self) -> None:
        """Say that a transaction with events was committed."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        failures = 0
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
                if not published and pruned_all:
                    await self._wait()
        finally:
            await self._release()

    async def _after_failure(self, error: UnavailableError, failures: int) -> None:
        self._metrics.failures.labels(self._stream).inc()
        _log.warning("outbox_publish_failed", stream=self._stream, reason=error.reason, error=error.message)
        await self._clock.sleep(
            jittered_seconds(
                failures,
                first_seconds=self._settings.retry_first_seconds,
                longest_seconds=self._settings.retry_longest_seconds,
            )
        )

    async def publish_next(self) -> int:
        """Publish one batch and return its size; 0 when there is nothing, or another relay is publishing.

        Raises:
            UnavailableError: Neither the database nor the broker lost anything; try again.
        """
        events = await self._next_events()
        self._note_lag(events)
        if not events:
            # Nothing is written while nothing happens: the lease may run out, and is taken again when it is needed.
            return 0
        if not self._lease.is_fresh:
            if not await self._lease.take():
                return 0
            # Others may have moved the cursor before the lease was taken.
            events = await self._next_events()
        if events:
            await self._publish(events)
        return len(events)

    async def _next_events(self) -> list[StoredEvent]:
        cursor_sequence = await self._lease.cursor_sequence()
        async with self._database.snapshot() as connection:
            rows = await connection.fetch(
                _READ_NEXT, self._stream.encode(), cursor_sequence, self._settings.batch_events_max
            )
        return [event_of_row(row) for row in rows]

    def _note_lag(self, events: list[StoredEvent]) -> None:
        age = self._clock.now() - events[0].recorded_at if events else timedelta(0)
        self._metrics.lag_seconds.labels(self._stream).set(max(age.total_seconds(), 0.0))

    async def _publish(self, events: list[StoredEvent]) -> None:
        await self._producer.publish([event.to_message() for event in events])
        if not await self._lease.advance(events[-1].sequence):
            _log.warning("outbox_lease_lost", stream=self._stream)
        self._metrics.published.labels(self._stream).inc(len(events))

    async def _wait(self) -> None:
        """Wait for a wake or for the next look, whichever is first."""
        waits = {
            asyncio.ensure_future(self._woken.wait()),
            asyncio.ensure_future(self._clock.sleep(self._settings.poll_seconds)),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _release(self) -> None:
        try:
            await self._lease.release()
        except UnavailableError:
            _log.info("outbox_lease_kept", stream=self._stream)

    async def _prune_when_due(self) -> bool:
        """Delete one step's worth, so that publishing goes on in between; tell whether nothing is left to delete."""
        now = self._clock.now()
        if self._settings.retention is None or now < self._prune_at:
            return True
        deleted = await self._prune_step(now - self._settings.retention)
        if deleted == self._settings.prune_step_events:
            return False
        self._prune_at = now + timedelta(seconds=self._settings.prune_every_seconds)
        return True

    async def prune(self, *, recorded_before: datetime) -> int:
        """Delete published events that were recorded before an instant, in short transactions; return how many."""
        deleted = 0
        while step := await self._prune_step(recorded_before):
            deleted += step
        return deleted

    async def _prune_step(self, recorded_before: datetime) -> int:
        return await prune_step(
            self._database,
            self._stream,
            recorded_before=recorded_before,
            events_max=self._settings.prune_step_events,
        )
