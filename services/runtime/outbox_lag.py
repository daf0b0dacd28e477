"""How far the relay is behind what was committed, told by one who isn't the relay: it sees one that hangs, too.

The relay writes its cursor twice a second: events that it published since count as waiting.
"""

from datetime import timedelta

from prometheus_client import CollectorRegistry, Gauge

from services.runtime.clock import Clock, from_micros
from services.runtime.database.port import Database
from services.runtime.measuring import keep_measuring

LOOK_EVERY_SECONDS = 2.0
"""Between two looks: several within the time in which Prometheus looks once."""

# Up to where the stream is published; the oldest pack behind that, and the newest: each by the primary key.
_READ_CURSOR = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"
_READ_FIRST = """
    SELECT recorded_at, first_sequence FROM outbox WHERE stream = $1 AND sequence > $2 ORDER BY sequence LIMIT 1
"""
_READ_LAST = "SELECT sequence FROM outbox WHERE stream = $1 AND sequence > $2 ORDER BY sequence DESC LIMIT 1"


class OutboxLag:
    """Measures one stream."""

    def __init__(self, database: Database, stream: str, clock: Clock, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self._database = database
        self._stream = stream
        self._clock = clock
        seconds = Gauge(
            "tradeflow_outbox_lag_seconds",
            "Age of the oldest event that isn't published yet",
            ("stream",),
            registry=registry,
        )
        events = Gauge(
            "tradeflow_outbox_lag_events", "Events that aren't published yet", ("stream",), registry=registry
        )
        self._seconds, self._events = seconds.labels(stream), events.labels(stream)

    async def run(self) -> None:
        """Measure until cancelled."""
        await keep_measuring(self.measure, name="outbox_lag", every_seconds=LOOK_EVERY_SECONDS, clock=self._clock)

    async def measure(self) -> None:
        """Measure once.

        Raises:
            UnavailableError: The database is away.
        """
        stream = self._stream.encode()
        async with self._database.snapshot() as connection:
            cursors = await connection.fetch(_READ_CURSOR, stream)
            cursor_sequence = cursors[0][0] if cursors else 0
            first = await connection.fetch(_READ_FIRST, stream, cursor_sequence)
            last = await connection.fetch(_READ_LAST, stream, cursor_sequence)
        age = self._clock.now() - from_micros(first[0][0]) if first else timedelta(0)
        self._seconds.set(max(age.total_seconds(), 0.0))
        self._events.set(last[0][0] - max(first[0][1] - 1, cursor_sequence) if first else 0)
