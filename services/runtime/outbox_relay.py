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
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

from services.runtime.backoff import jittered_seconds
from services.runtime.broker.port import Producer
from services.runtime.clock import Clock, SystemClock, from_micros, to_micros
from services.runtime.database.port import Connection, Database
from services.runtime.errors import UnavailableError
from services.runtime.ids import new_id
from services.runtime.outbox_events import COLUMNS, StoredEvent, event_of_row

_log = structlog.get_logger(__name__)

_PUBLISHED = Counter("tradeflow_outbox_published_total", "Events published from the outbox.", ["stream"])
_FAILURES = Counter("tradeflow_outbox_failures_total", "Attempts to publish that failed.", ["stream"])
_LAG_SECONDS = Gauge("tradeflow_outbox_lag_seconds", "Age of the oldest event that isn't published yet.", ["stream"])

# Reads who publishes, and up to where it is published. Locks nothing.
_READ_RELAY = """
    SELECT cursor_sequence, lease_holder, lease_expires_at, fencing_token FROM outbox_relays WHERE stream = $1
"""

# The same, and locks the stream's row against other relays.
_LOCK_RELAY = f"{_READ_RELAY} FOR UPDATE"

# Begins a stream with nothing published and nobody publishing.
_BEGIN_RELAY = """
    INSERT INTO outbox_relays (stream, cursor_sequence, lease_holder, lease_expires_at, fencing_token)
    VALUES ($1, 0, $2, 0, 0)
    ON CONFLICT (stream) DO NOTHING
"""

# Takes or extends the lease; the row is locked.
_TAKE_LEASE = """
    UPDATE outbox_relays SET lease_holder = $1, lease_expires_at = $2, fencing_token = $3 WHERE stream = $4
"""

# Moves the cursor and extends the lease, unless another relay took over.
_ADVANCE = """
    UPDATE outbox_relays SET cursor_sequence = $1, lease_expires_at = $2
    WHERE stream = $3 AND lease_holder = $4 AND fencing_token = $5
"""

# Lets go of the lease, so that another relay need not wait for its end.
_RELEASE_LEASE = """
    UPDATE outbox_relays SET lease_expires_at = 0 WHERE stream = $1 AND lease_holder = $2 AND fencing_token = $3
"""

# The next events to publish.
_READ_NEXT = f"""
    SELECT {COLUMNS} FROM outbox WHERE stream = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""  # noqa: S608 - the columns are a constant

# The oldest events, published or not.
_READ_OLDEST = """
    SELECT sequence, recorded_at FROM outbox WHERE stream = $1 AND sequence <= $2 ORDER BY sequence LIMIT $3
"""

# Deletes the oldest events; locks a range of the primary key.
_DELETE_OLDEST = "DELETE FROM outbox WHERE stream = $1 AND sequence <= $2"


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
    lease_seconds: float = 10.0
    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 5.0
    retention: timedelta | None = timedelta(days=7)
    prune_every_seconds: float = 60.0
    prune_step_events: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    fencing_token: int
    expires_at: datetime


class OutboxRelay:
    """Publishes the events of one stream. `run` it once in a process."""

    def __init__(
        self,
        database: Database,
        producer: Producer,
        stream: str,
        clock: Clock | None = None,
        settings: RelaySettings | None = None,
    ) -> None:
        """Prepare a relay.

        Args:
            database: Where the stream's events are.
            producer: Where they go.
            stream: The stream's name.
            clock: Leases and waits follow it.
            settings: How it works.
        """
        self._database = database
        self._producer = producer
        self._stream = stream
        self._name = stream.encode()
        self._clock = clock or SystemClock()
        self._settings = settings or RelaySettings()
        self._holder: UUID = new_id()
        self._lease: _Lease | None = None
        self._cursor_sequence: int | None = None
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
                    failures = 0
                except UnavailableError as error:
                    _FAILURES.labels(self._stream).inc()
                    _log.warning("outbox_publish_failed", stream=self._stream, reason=error.reason, error=error.message)
                    await self._clock.sleep(self._retry_seconds(failures))
                    failures += 1
                    continue
                pruned_all = await self._prune_when_due()
                if not published and pruned_all:
                    await self._wait()
        finally:
            await self._release()

    def _retry_seconds(self, failures: int) -> float:
        return jittered_seconds(
            failures,
            first_seconds=self._settings.retry_first_seconds,
            longest_seconds=self._settings.retry_longest_seconds,
        )

    async def publish_next(self) -> int:
        """Publish one batch and return its size; 0 when there is nothing, or another relay is publishing.

        Raises:
            UnavailableError: Neither the database nor the broker lost anything; try again.
        """
        events = await self._next_events()
        self._note_lag(events)
        if not events:
            return 0
        if not self._lease_is_fresh():
            # Others may have moved the cursor meanwhile: what was read is worth nothing unless the lease was ours.
            if not await self._take_lease():
                return 0
            events = await self._next_events()
        if events:
            await self._producer.publish([event.to_message() for event in events])
            await self._advance(events[-1].sequence)
            _PUBLISHED.labels(self._stream).inc(len(events))
        return len(events)

    async def _next_events(self) -> list[StoredEvent]:
        async with self._database.snapshot() as connection:
            if self._cursor_sequence is None:
                relay = await connection.fetch(_READ_RELAY, self._name)
                self._cursor_sequence = relay[0][0] if relay else 0
            rows = await connection.fetch(
                _READ_NEXT, self._name, self._cursor_sequence, self._settings.batch_events_max
            )
        return [event_of_row(row) for row in rows]

    def _note_lag(self, events: list[StoredEvent]) -> None:
        age = self._clock.now() - events[0].recorded_at if events else timedelta(0)
        _LAG_SECONDS.labels(self._stream).set(max(age.total_seconds(), 0.0))

    def _lease_is_fresh(self) -> bool:
        # Half of it must be left, so that a batch usually ends before it does.
        margin = timedelta(seconds=self._settings.lease_seconds / 2)
        return self._lease is not None and self._clock.now() + margin < self._lease.expires_at

    async def _take_lease(self) -> bool:
        if await self._other_publishes():
            return False
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_LOCK_RELAY, self._name)
            if not rows:
                await connection.execute(_BEGIN_RELAY, self._name, bytes(16))
                rows = await connection.fetch(_LOCK_RELAY, self._name)
            cursor_sequence, holder, expires_at_micros, fencing_token = rows[0]
            now, mine = self._clock.now(), holder == self._holder.bytes
            if not mine and expires_at_micros > to_micros(now):
                return False
            lease = _Lease(
                # Its own lease goes on, even past its end, when nobody took it; any other is a new one.
                fencing_token=fencing_token if mine else fencing_token + 1,
                expires_at=now + timedelta(seconds=self._settings.lease_seconds),
            )
            await connection.execute(
                _TAKE_LEASE, self._holder.bytes, to_micros(lease.expires_at), lease.fencing_token, self._name
            )
        self._lease, self._cursor_sequence = lease, cursor_sequence
        return True

    async def _other_publishes(self) -> bool:
        """Look without a lock, so that a relay that stands by writes nothing; follow the cursor meanwhile."""
        async with self._database.snapshot() as connection:
            rows = await connection.fetch(_READ_RELAY, self._name)
        if not rows:
            return False
        cursor_sequence, holder, expires_at_micros, _ = rows[0]
        self._cursor_sequence = cursor_sequence
        return holder != self._holder.bytes and from_micros(expires_at_micros) > self._clock.now()

    async def _advance(self, sequence: int) -> None:
        lease = self._lease
        if lease is None:
            return
        expires_at = self._clock.now() + timedelta(seconds=self._settings.lease_seconds)
        async with self._database.transaction() as connection:
            moved = await connection.execute(
                _ADVANCE, sequence, to_micros(expires_at), self._name, self._holder.bytes, lease.fencing_token
            )
        if moved:
            self._lease = _Lease(fencing_token=lease.fencing_token, expires_at=expires_at)
            self._cursor_sequence = sequence
        else:
            _log.warning("outbox_lease_lost", stream=self._stream)
            self._lease = self._cursor_sequence = None

    async def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            async with self._database.transaction() as connection:
                await connection.execute(_RELEASE_LEASE, self._name, self._holder.bytes, lease.fencing_token)
        except UnavailableError:
            _log.info("outbox_lease_kept", stream=self._stream)

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

    async def _prune_when_due(self) -> bool:
        """Delete one step's worth, so that publishing goes on in between; tell whether nothing is left to delete."""
        now = self._clock.now()
        if self._settings.retention is None or now < self._prune_at:
            return True
        try:
            if await self._prune_step(now - self._settings.retention) == self._settings.prune_step_events:
                return False
        except UnavailableError as error:
            _log.info("outbox_prune_failed", stream=self._stream, reason=error.reason)
        self._prune_at = now + timedelta(seconds=self._settings.prune_every_seconds)
        return True

    async def prune(self, *, recorded_before: datetime) -> int:
        """Delete published events that were recorded before an instant, in short transactions; return how many."""
        deleted = 0
        while step := await self._prune_step(recorded_before):
            deleted += step
        return deleted

    async def _prune_step(self, recorded_before: datetime) -> int:
        async with self._database.transaction() as connection:
            return await self._delete_oldest(connection, to_micros(recorded_before))

    async def _delete_oldest(self, connection: Connection, before_micros: int) -> int:
        relay = await connection.fetch(_READ_RELAY, self._name)
        if not relay:
            return 0
        oldest = await connection.fetch(_READ_OLDEST, self._name, relay[0][0], self._settings.prune_step_events)
        # Numbers and instants rise together but for clocks that were set back: stop at the first that stays.
        last_sequence = 0
        for sequence, recorded_at_micros in oldest:
            if recorded_at_micros >= before_micros:
                break
            last_sequence = sequence
        return await connection.execute(_DELETE_OLDEST, self._name, last_sequence) if last_sequence else 0
