"""A consumer that is there while its loop runs: whoever isn't at work should keep no partition from those who are."""

from collections.abc import Callable

from services.runtime.broker.port import Consumer
from services.runtime.consumer_loop import ConsumerLoop


class TemporaryConsumer:
    """Opens a consumer and a loop on it for each run. `run` it once at a time."""

    def __init__(self, open_consumer: Callable[[], Consumer], loop_on: Callable[[Consumer], ConsumerLoop]) -> None:
        """Open nothing yet."""
        self._open_consumer = open_consumer
        self._loop_on = loop_on
        self._loop: ConsumerLoop | None = None

    @property
    def healthy(self) -> bool:
        """Tell whether it may work; False while it is at work and stands still over its dead letters."""
        return self._loop is None or self._loop.healthy

    async def run(self) -> None:
        """Handle messages until cancelled. The consumer then leaves its group, and the next run goes on behind it."""
        consumer = self._open_consumer()
        try:
            self._loop = self._loop_on(consumer)
            await self._loop.run()
        finally:
            self._loop = None
            await consumer.close()
