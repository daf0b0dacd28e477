"""Waiting in tests: poll with a deadline, never sleep blindly."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.005
"""How often the condition is looked at."""


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


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = condition()
    return await answer if inspect.isawaitable(answer) else answer
