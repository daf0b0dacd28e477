"""Work that falls due again and again, done in bounded passes: the loop of all that finishes, forgets and prunes."""

from collections.abc import Awaitable, Callable

from services.runtime.clock import Clock


async def repeat_passes(
    one_pass: Callable[[], Awaitable[int]], *, full: int = 1, clock: Clock, pause_seconds: float
) -> None:
    """Do passes until cancelled; a full one is followed by the next at once.

    Args:
        one_pass: Does a bounded part of what is due, and returns how much that was.
        full: A pass that did so much, or more, may have left some.
        clock: Waits.
        pause_seconds: Between two passes when nothing is left.
    """
    while True:
        if await one_pass() < full:
            await clock.sleep(pause_seconds)
