"""How long to wait before trying again."""

from random import SystemRandom

_random = SystemRandom()


def jittered_seconds(attempt: int, *, first_seconds: float, longest_seconds: float) -> float:
    """Choose the wait before a repetition: doubling, capped, and spread so that those who failed together part.

    Args:
        attempt: 0 before the first repetition, 1 before the second, and so on.
        first_seconds: The longest wait before the first repetition.
        longest_seconds: What no wait exceeds.
    """
    # 2**30 times any sensible first wait is past any cap; larger powers would only grow the integer.
    capped = min(longest_seconds, first_seconds * (1 << min(attempt, 30)))
    return capped * _random.uniform(0.5, 1.0)
