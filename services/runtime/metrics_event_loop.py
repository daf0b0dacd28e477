"""How late the event loop is: the one measure of a process of asyncio that has too much to do."""

import asyncio

from prometheus_client import CollectorRegistry, Histogram

LOOK_EVERY_SECONDS = 0.25
"""How long the watch sleeps: four looks a second cost nothing, and see what lasts for as long."""

DELAY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""From an idle loop to one that is stuck in a computation."""


class EventLoopWatch:
    """Sleeps, and counts by how much it overslept: so long does anything wait for its turn."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metric; once for a registry."""
        self._delay_seconds = Histogram(
            "tradeflow_event_loop_delay_seconds",
            "How long a task that is ready waits for its turn",
            buckets=DELAY_BUCKETS_SECONDS,
            registry=registry,
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_at_seconds = loop.time() + LOOK_EVERY_SECONDS
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            self._delay_seconds.observe(max(loop.time() - due_at_seconds, 0.0))
