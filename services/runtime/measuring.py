"""A measure that is taken again and again, as a metric: by one who doesn't do the work, since he who does may hang."""

from collections.abc import Awaitable, Callable

import structlog

from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)


async def keep_measuring(
    measure: Callable[[], Awaitable[None]], *, name: str, every_seconds: float, clock: Clock
) -> None:
    """Measure until cancelled; while what is measured is away, the last measure stands.

    Args:
        measure: Takes one measure; raises UnavailableError when it can't.
        name: What the log calls it.
        every_seconds: Between two measures: shorter than the time in which Prometheus looks once.
        clock: Waits.
    """
    while True:
        try:
            await measure()
        except UnavailableError as error:
            logger.warning("not_measured", measure=name, reason=error.reason)
        await clock.sleep(every_seconds)
