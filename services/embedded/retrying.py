"""Try a call again when trying again is safe and may help."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.runtime.errors import ConflictError, RateLimitedError, TradeFlowError, UnavailableError

Answer = TypeVar("Answer")

ATTEMPTS_MAX = 8
"""Calls in all; with the pauses below they span about 20 s, longer than a restart of the platform."""

PAUSE_SECONDS_FIRST = 0.1
"""The longest first pause; each later one may be twice as long."""

PAUSE_SECONDS_MAX = 5.0
"""No pause is longer, whatever the server asks for."""

_random = secrets.SystemRandom()


def is_worth_a_retry(error: TradeFlowError) -> bool:
    """Tell whether the same call, with the same key, may succeed later."""
    if isinstance(error, ConflictError):
        return error.reason == "request_in_flight"
    return isinstance(error, UnavailableError | RateLimitedError)


def pause_seconds(error: TradeFlowError, attempt: int) -> float:
    """Choose the pause after a failed attempt (from 1): what the server asked for, plus full jitter."""
    jitter = _random.uniform(0, min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * 2 ** (attempt - 1)))
    asked_for = error.retry_after_seconds if isinstance(error, UnavailableError | RateLimitedError) else 0.0
    return min(PAUSE_SECONDS_MAX, asked_for + jitter)


async def retrying(call: Callable[[], Awaitable[Answer]], *, attempts_max: int = ATTEMPTS_MAX) -> Answer:
    """Await `call()` until it answers, is refused for good, or was tried `attempts_max` times.

    Raises:
        TradeFlowError: The last attempt's error.
    """
    for attempt in range(1, attempts_max):
        try:
            return await call()
        except TradeFlowError as error:
            if not is_worth_a_retry(error):
                raise
            await asyncio.sleep(pause_seconds(error, attempt))
    return await call()
