"""Waiting in tests: poll with a deadline, never sleep blindly."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.005
"""How often the condition is looked at."""

PATIENCE_SECONDS = 90.0
"""How long a busy machine may take for anything that other processes do."""

PATIENT_POLL_SECONDS = 0.1
"""A look at another process may be a process of its own."""


async def eventually(condition: Callable[[], bool | Awaitable[bool]], *, seconds_max: float = 30.0) -> None:
    """Return as soon as the condition holds, or fail.

    Raises:
        AssertionError: It didn't hold within the bound.
    """
    try:
        async with asyncio.timeout(seconds_max):
            while not await _holds(condition):  # noqa: ASYNC110 - what tests wait for has no event of its own
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"it didn't happen within {seconds_max:g} s") from None


def wait_until(condition: Callable[[], bool], otherwise: str, *, seconds_max: float = PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds, where there is no event loop; else say what is wrong.

    Raises:
        AssertionError: It didn't hold within the bound.
    """
    until = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{otherwise} within {seconds_max:g} s")
        time.sleep(PATIENT_POLL_SECONDS)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = condition()
    return await answer if inspect.isawaitable(answer) else answer
