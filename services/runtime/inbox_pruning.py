"""Forgetting events that were handled long ago, step by step: the inbox is as long as the retention of its events."""

from datetime import datetime

from services.runtime.clock import EPOCH, from_micros, to_micros
from services.runtime.database.port import Database
from services.runtime.step_size import StepSize

STEP_EVENTS_MAX = 500
"""Events of one step: each is a row that is deleted, some milliseconds in all."""

STEP_SECONDS_MAX = 0.05
"""How long a step may take; on SQLite all that write wait for it."""

READ_OLDEST = """
    SELECT event_id, received_at FROM inbox WHERE consumer = $1 AND received_at >= $2 AND received_at < $3
    ORDER BY received_at LIMIT $4
"""
"""The oldest events, by `inbox_by_age`, behind those that are gone already: an engine may walk over what it deleted."""

_FORGET = "DELETE FROM inbox WHERE consumer = $1 AND event_id = $2"


class InboxPruner:
    """Deletes the oldest events of one consumer; several replicas may, since each event goes once."""

    def __init__(self, database: Database, consumer: str, size: StepSize | None = None) -> None:
        """Begin with the oldest."""
        self._database = database
        self._consumer = consumer.encode()
        self._size = size or StepSize(rows_max=STEP_EVENTS_MAX, seconds_max=STEP_SECONDS_MAX)
        self._gone_until = EPOCH

    async def step(self, *, received_before: datetime) -> int:
        """Delete the oldest events in one short transaction, and return how many; 0 when nothing is old.

        Keep more than the broker keeps: an event that comes again after that is handled again.
        """
        with self._size.step() as events_max:
            async with self._database.snapshot() as connection:
                old = await connection.fetch(
                    READ_OLDEST, self._consumer, to_micros(self._gone_until), to_micros(received_before), events_max
                )
            if not old:
                return 0
            async with self._database.transaction() as connection:
                await connection.write_at_commit(_FORGET, [(self._consumer, event_id) for event_id, _ in old])
        # Not past it: events of one batch have one instant, and a step may have ended among them.
        self._gone_until = from_micros(old[-1][1])
        return len(old)
