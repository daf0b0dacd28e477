"""Spans of time as Kubernetes writes them: `90s`, `10m`, `720h`, `1h30m`. Pure."""

import re

PATTERN = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
"""What the definitions of our kinds ask for too: CEL's `duration()` reads all of it."""

_UNITS = (3600, 60, 1)


def seconds_of(text: str) -> int:
    """Read a span.

    Raises:
        ValueError: It isn't one.
    """
    found = re.match(PATTERN, text)
    if not text or found is None:
        raise ValueError(f"{text!r} is no span of time such as 90s, 10m or 1h30m")
    return sum(int(part[:-1]) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part)
