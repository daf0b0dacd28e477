"""How far a consumer is behind, as a metric: asked for beside its handling, which may be stuck when it matters most."""

from collections.abc import Mapping

import structlog
from prometheus_client import Gauge

from services.runtime.broker.port import Consumer, Place
from services.runtime.clock import Clock
from services.runtime.errors import TradeFlowError

logger = structlog.get_logger(__name__)

LAG_EVERY_SECONDS = 5.0
"""How often the broker is asked: more often than metrics are read, and nothing beside what consumers ask anyway."""


class LagWatch:
    """Keeps a gauge (consumer, topic, partition); partitions that went elsewhere are taken out of it."""

    def __init__(self, consumer: Consumer, gauge: Gauge, *, name: str, clock: Clock) -> None:
        """Show nothing yet."""
        self._consumer = consumer
        self._gauge = gauge
        self._name = name
        self._clock = clock
        self._shown: set[Place] = set()

    async def run(self) -> None:
        """Ask until cancelled; what is nobody's to read here any more is shown no longer then."""
        try:
            while True:
                await self._look()
                await self._clock.sleep(LAG_EVERY_SECONDS)
        finally:
            self._show({})

    async def _look(self) -> None:
        try:
            self._show(await self._consumer.lag())
        except TradeFlowError as error:
            # The last known values stand; that the broker is away is said by others, and louder.
            logger.info("consumer_lag_unknown", consumer=self._name, reason=error.reason, error=error.message)
        except Exception:  # the edge of a loop: a consumer goes on without its metric
            logger.exception("consumer_lag_failed", consumer=self._name)

    def _show(self, lag: Mapping[Place, int]) -> None:
        for topic, partition in self._shown - lag.keys():
            self._gauge.remove(self._name, topic, str(partition))
        for (topic, partition), messages in lag.items():
            self._gauge.labels(self._name, topic, str(partition)).set(messages)
        self._shown = set(lag)
