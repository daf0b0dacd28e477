"""How many webhooks wait, and how many died, told by one who doesn't deliver."""

from typing import Final

from services.orders.metrics import WebhookMetrics
from services.runtime.clock import Clock, from_micros, to_micros
from services.runtime.database.port import Database
from services.runtime.measuring import keep_measuring

LOOK_EVERY_SECONDS = 10.0
"""Between two looks."""

COUNTED_MAX = 10_000
"""Up to so many are counted: more is as bad."""

# Those that could have been delivered by now, by the index on them.
_READ_WAITING: Final = """
    SELECT d.created_at FROM webhook_deliveries AS d INDEXED BY webhook_deliveries_by_end
    CROSS JOIN webhook_endpoints AS e ON e.endpoint_id = d.endpoint_id
    WHERE d.state = 'PENDING' AND COALESCE(e.removed_at, 0) = 0 ORDER BY d.updated_at LIMIT $1
"""

_READ_DEAD: Final = """
    SELECT d.message_id FROM webhook_deliveries AS d INDEXED BY webhook_deliveries_by_end
    CROSS JOIN webhook_endpoints AS e ON e.endpoint_id = d.endpoint_id
    WHERE d.state = 'DEAD' AND COALESCE(e.removed_at, 0) = 0 AND d.updated_at > $1 LIMIT $2
"""

DEAD_COUNTED_FOR_SECONDS: Final = 7 * 24 * 3_600
"""Older dead deliveries aren't news."""


class WebhookLag:
    """Measures."""

    def __init__(self, database: Database, clock: Clock, metrics: WebhookMetrics) -> None:
        """Show it in `metrics`."""
        self._database = database
        self._clock = clock
        self._metrics = metrics

    async def run(self) -> None:
        """Measure until cancelled."""
        await keep_measuring(self.measure, name="webhook_lag", every_seconds=LOOK_EVERY_SECONDS, clock=self._clock)

    async def measure(self) -> None:
        """Measure once.

        Raises:
            UnavailableError: The database is away.
        """
        now = self._clock.now()
        since_micros = to_micros(now) - DEAD_COUNTED_FOR_SECONDS * 1_000_000
        async with self._database.snapshot() as connection:
            waiting = await connection.fetch(_READ_WAITING, COUNTED_MAX)
            dead = await connection.fetch(_READ_DEAD, since_micros, COUNTED_MAX)
        oldest = min((from_micros(row[0]) for row in waiting), default=now)
        self._metrics.waiting.set(len(waiting))
        self._metrics.lag_seconds.set(max((now - oldest).total_seconds(), 0.0))
        self._metrics.dead.set(len(dead))
