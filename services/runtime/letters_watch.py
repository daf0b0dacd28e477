"""How many dead letters of a consumer wait, told beside its handling: people discard while no message comes."""

import structlog
from prometheus_client import Gauge

from services.runtime.clock import Clock
from services.runtime.errors import TradeFlowError
from services.runtime.parking import Parking

logger = structlog.get_logger(__name__)

LETTERS_EVERY_SECONDS = 5.0
"""How often the dead-letter topics are asked for news: who discarded some sees it with the next look at the metrics."""


class LettersWatch:
    """Keeps a gauge (consumer), and with it forgets the letters that wait no more."""

    def __init__(self, parking: Parking, gauge: Gauge, *, clock: Clock) -> None:
        """Show nothing yet."""
        self._parking = parking
        self._gauge = gauge
        self._clock = clock

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._look()
            await self._clock.sleep(LETTERS_EVERY_SECONDS)

    def show(self) -> None:
        """Show what is known now."""
        self._gauge.labels(self._parking.consumer_name).set(self._parking.count)

    def end(self) -> None:
        """Show nothing any more: others handle the messages now, or nobody."""
        self._gauge.remove(self._parking.consumer_name)

    async def _look(self) -> None:
        try:
            await self._parking.catch_up()
        except TradeFlowError as error:
            # The last known value stands; that the broker is away is said by others, and louder.
            logger.info(
                "dead_letters_unknown", consumer=self._parking.consumer_name, reason=error.reason, error=error.message
            )
        except Exception:  # the edge of a loop: a consumer goes on without its metric
            logger.exception("dead_letters_watch_failed", consumer=self._parking.consumer_name)
        else:
            self.show()
