"""How long to wait after failures in a row: growing, capped, jittered, for each resource by itself."""

import random

FIRST_SECONDS = 0.5
"""After the first failure."""

RESYNC_JITTER = 0.2
"""A resync comes up to this part earlier or later, so that resources made together part."""


def backoff_seconds(failures: int, *, longest_seconds: float) -> float:
    """Wait between half and all of an exponential step; `failures` counts from 1."""
    step: float = min(longest_seconds, FIRST_SECONDS * 2.0 ** min(failures - 1, 30))
    return step * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, it guards nothing


def jittered_seconds(seconds: float) -> float:
    """Spread a period by the jitter of the resync."""
    return seconds * random.uniform(1 - RESYNC_JITTER, 1 + RESYNC_JITTER)  # noqa: S311 - as above
