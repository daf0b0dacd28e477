"""How far a consumer is behind, as a metric: asked for beside its handling, which may be stuck when it matters most."""

import structlog
from prometheus_client import Gauge

from services.runtime.broker.port import Consumer, Place
from services.runtime.clock import Clock
from services.runtime.errors import TradeFlowError

_log = structlog.get_logger(__name__)

LAG_EVERY_SECONDS = 5.0
"""How often the broker is asked: more often than metrics are read, and nothing beside what consumers ask anyway."""


async def watch_lag(consumer: Consumer, gauge: Gauge, *, name: str, clock: Clock) -> None:
    """Keep `gauge` (consumer, topic, partition) until cancelled; partitions that went elsewhere are taken out of it."""
    shown: set[Place] = set()
    while True:
        try:
            lag = await consumer.lag()
        except TradeFlowError as error:
            # The last known values stand; that the broker is away is said by others, and louder.
            _log.info("consumer_lag_unknown", consumer=name, reason=error.reason, error=error.message)
        except Exception:  # noqa: BLE001 - the edge of a loop: a consumer goes on without its metric
            _log.error("consumer_lag_failed", consumer=name, exc_info=True)
        else:
            for topic, partition in shown - lag.keys():
                gauge.remove(name, topic, str(partition))
            for (topic, partition), messages in lag.items():
                gauge.labels(name, topic, str(partition)).set(messages)
            shown = set(lag)
        await clock.sleep(LAG_EVERY_SECONDS)
