"""Ends what waits for endpoints that were removed, step by step: it may be hundreds of thousands of messages.

The removal writes the endpoint's own row alone. From then on nothing is taken for it, so what is sent doesn't depend on
when its messages end. They end in order to be forgotten like all others, and so that no look at what waits walks over
them. They are looked for, and no removal leaves a task behind: whoever died in between, the next look finds what is
left, and also what a move wrote that had looked who listens before the removal, and committed after it.
"""

from datetime import datetime, timedelta
from typing import Final

from services.runtime.clock import EPOCH, Clock, from_micros, to_micros
from services.runtime.database.port import Database, Row
from services.runtime.step_size import StepSize

STEP_DELIVERIES_MAX: Final = 500
"""Deliveries of one step: each is a row that is written, some milliseconds in all."""

STEP_SECONDS_MAX: Final = 0.05
"""How long a step may take; on SQLite all that write wait for it."""

LATE_FOR: Final = timedelta(hours=1)
"""For how long after its removal something may yet be written to an endpoint: longer than a delivery is taken for, and
than any transaction."""

READ_REMOVED: Final = """
    SELECT endpoint_id, removed_at
    FROM (
        SELECT e.endpoint_id, e.removed_at, (
                SELECT d.due_at FROM webhook_deliveries AS d INDEXED BY webhook_deliveries_by_turn
                WHERE d.endpoint_id = e.endpoint_id AND d.state = 'PENDING'
                LIMIT 1
            ) AS due_at
        FROM webhook_endpoints e WHERE e.removed_at >= $1
    ) AS removed
    WHERE due_at IS NOT NULL
    ORDER BY removed_at LIMIT 1
"""
"""The endpoint that was removed first of those for which something waits: one look for each."""

READ_PENDING: Final = """
    SELECT endpoint_id, message_id FROM webhook_deliveries INDEXED BY webhook_deliveries_by_turn
    WHERE endpoint_id = $1 AND state = 'PENDING' ORDER BY due_at LIMIT $2
"""
"""What waits for it, by the same index, without the bodies. Locks nothing."""

# Ends a delivery, unless somebody else did. It can't be redriven.
_END: Final = """
    UPDATE webhook_deliveries SET state = 'DEAD', error = 'endpoint removed', due_at = NULL, updated_at = $1
    WHERE endpoint_id = $2 AND message_id = $3 AND state = 'PENDING'
"""


class WebhookEnder:
    """Ends deliveries to endpoints that were removed; several replicas may, since each delivery ends once."""

    def __init__(self, database: Database, clock: Clock, size: StepSize | None = None) -> None:
        """Begin with the endpoint that was removed first."""
        self._database = database
        self._clock = clock
        self._size = size or StepSize(rows_max=STEP_DELIVERIES_MAX, seconds_max=STEP_SECONDS_MAX)
        self._nothing_left_before = EPOCH

    async def step(self) -> int:
        """End some deliveries in one short transaction, and return how many; 0 when none waits.

        Raises:
            UnavailableError: The database is away, or somebody else writes these rows; the next step may go on.
        """
        with self._size.step() as deliveries_max:
            now = self._clock.now()
            pending = await self._pending(now - LATE_FOR, deliveries_max)
            if pending:
                async with self._database.transaction() as connection:
                    await connection.write_at_commit(_END, [(to_micros(now), *row) for row in pending])
        return len(pending)

    async def _pending(self, settled_at: datetime, deliveries_max: int) -> list[Row]:
        """Read what waits for one endpoint; those removed before `settled_at` need not be looked at twice."""
        async with self._database.snapshot() as connection:
            removed = await connection.fetch(READ_REMOVED, to_micros(self._nothing_left_before))
            if not removed:
                self._nothing_left_before = settled_at
                return []
            ((endpoint_id, removed_micros),) = removed
            self._nothing_left_before = min(from_micros(removed_micros), settled_at)
            return await connection.fetch(READ_PENDING, endpoint_id, deliveries_max)
