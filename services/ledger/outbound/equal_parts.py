"""Lists cut into parts of one length, for statements that name so many values: one shape, however many there are."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Value = TypeVar("Value")


def equal_parts(values: Sequence[Value], size: int) -> Iterator[list[Value]]:
    """Cut values into parts of `size`; the last one is filled up with its last value, again and again."""
    for first in range(0, len(values), size):
        part = list(values[first : first + size])
        yield part + part[-1:] * (size - len(part))
