"""How long the one who asked still waits: given by the gateway, carried by a header, then by gRPC's deadlines.

Nobody works for a caller that has gone: each call on the way takes what is left, less what the answer needs.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

HEADER: Final = "x-request-timeout-ms"
"""The HTTP header: how long the caller waits from the sending on, in milliseconds. From outside it isn't believed."""

DIGITS_MAX: Final = 9
"""Longer numbers are no timeouts: this is eleven days."""

ANSWER_SECONDS: Final = 0.25
"""What is kept for writing down what became of a call and for the answer's way back."""

_ends_at_seconds: ContextVar[float | None] = ContextVar("tradeflow_budget", default=None)


def parse_budget(header: str | None) -> float | None:
    """Read the header as seconds, or None when it is absent or no number."""
    if not header or len(header) > DIGITS_MAX or not header.isdecimal() or not header.isascii():
        return None
    return int(header) / 1000


def render_budget(seconds: float) -> str:
    """Write the header."""
    return str(max(0, int(seconds * 1000)))


def seconds_for_a_call(longest_seconds: float) -> float:
    """Tell how long a call may take: so many seconds, or what the budget leaves of them; 0 or less: nothing is left."""
    ends_at_seconds = _ends_at_seconds.get()
    if ends_at_seconds is None:
        return longest_seconds
    return min(longest_seconds, ends_at_seconds - ANSWER_SECONDS - time.monotonic())


@contextmanager
def spending(budget_seconds: float) -> Iterator[None]:
    """Run the body for a caller that waits for so long."""
    token = _ends_at_seconds.set(time.monotonic() + budget_seconds)
    try:
        yield
    finally:
        _ends_at_seconds.reset(token)
