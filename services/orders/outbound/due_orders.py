"""How many orders wait for somebody to look after them, told by one who doesn't: he who does may hang."""

from services.orders.metrics import OrdersMetrics
from services.runtime.clock import Clock, from_micros, to_micros
from services.runtime.database.port import Database
from services.runtime.measuring import keep_measuring

LOOK_EVERY_SECONDS = 5.0
"""Between two looks: several within the time in which Prometheus looks once."""

COUNTED_MAX = 10_000
"""Up to so many are counted: more is as bad."""

# The oldest due orders, by the index on it.
_READ_DUE = "SELECT due_at FROM orders WHERE due_at <= $1 ORDER BY due_at LIMIT $2"


class DueOrders:
    """Measures."""

    def __init__(self, database: Database, clock: Clock, metrics: OrdersMetrics) -> None:
        """Show it in `metrics`."""
        self._database = database
        self._clock = clock
        self._metrics = metrics

    async def run(self) -> None:
        """Measure until cancelled."""
        await keep_measuring(self.measure, name="due_orders", every_seconds=LOOK_EVERY_SECONDS, clock=self._clock)

    async def measure(self) -> None:
        """Measure once.

        Raises:
            UnavailableError: The database is away.
        """
        now = self._clock.now()
        async with self._database.snapshot() as connection:
            due = await connection.fetch(_READ_DUE, to_micros(now), COUNTED_MAX)
        self._metrics.due.set(len(due))
        self._metrics.due_lag_seconds.set((now - from_micros(due[0][0])).total_seconds() if due else 0.0)
