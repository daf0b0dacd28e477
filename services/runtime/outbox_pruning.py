"""Forgetting events that were published and are old: until then they are the history that clients resume from."""

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Database
from services.runtime.outbox_lease import RelayLease
from services.runtime.step_size import StepSize

# Up to where the stream is published.
_READ_CURSOR = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"

# The oldest packs that were published, behind those that are gone already: an engine may walk over what it deleted.
_READ_OLDEST = """
    SELECT sequence, recorded_at FROM outbox WHERE stream = $1 AND sequence > $2 AND sequence <= $3
    ORDER BY sequence LIMIT $4
"""

# Deletes the oldest packs; locks a range of the primary key, far behind the end where packs are added.
_DELETE_OLDEST = "DELETE FROM outbox WHERE stream = $1 AND sequence > $2 AND sequence <= $3"


class PruningMetrics:
    """What pruning counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.pruned = Counter(
            "tradeflow_outbox_pruned_packs",
            "Rows of published events deleted from the outbox.",
            ["stream"],
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "tradeflow_outbox_prune_lag_seconds",
            "How far the oldest published events are past their retention.",
            ["stream"],
            registry=registry,
        )


class OutboxPruner:
    """Deletes the oldest packs of one stream, step by step."""

    def __init__(
        self, database: Database, stream: str, lease: RelayLease, size: StepSize, metrics: PruningMetrics
    ) -> None:
        """Prune as the holder of the relay's lease only, so that one of many replicas does."""
        self._database = database
        self._stream = stream.encode()
        self._lease = lease
        self._size = size
        self._pruned = metrics.pruned.labels(stream)
        self._lag_seconds = metrics.lag_seconds.labels(stream)
        self._gone_sequence = 0

    async def step(self, *, recorded_before: datetime) -> int:
        """Delete the oldest published packs in one short transaction, and return how many; 0 when nothing is old."""
        with self._size.step() as packs_max:
            packs, last_sequence = await self._oldest(recorded_before, packs_max)
            if not packs or not (self._lease.is_fresh or await self._lease.take()):
                return 0
            async with self._database.transaction() as connection:
                deleted = await connection.execute(_DELETE_OLDEST, self._stream, self._gone_sequence, last_sequence)
        self._gone_sequence = last_sequence
        self._pruned.inc(deleted)
        return packs

    async def _oldest(self, recorded_before: datetime, packs_max: int) -> tuple[int, int]:
        """Count the packs to delete and tell the last one's number; writes nothing where nothing is to be done."""
        async with self._database.snapshot() as connection:
            cursor = await connection.fetch(_READ_CURSOR, self._stream)
            cursor_sequence = cursor[0][0] if cursor else 0
            rows = await connection.fetch(_READ_OLDEST, self._stream, self._gone_sequence, cursor_sequence, packs_max)
        age = recorded_before - from_micros(rows[0][1]) if rows else None
        self._lag_seconds.set(max(age.total_seconds(), 0.0) if age is not None else 0.0)
        packs = last_sequence = 0
        before_micros = to_micros(recorded_before)
        # Numbers and instants rise together but for clocks that were set back: stop at the first pack that stays.
        for sequence, recorded_at_micros in rows:
            if recorded_at_micros >= before_micros:
                break
            packs, last_sequence = packs + 1, sequence
        return packs, last_sequence
