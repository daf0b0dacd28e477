"""How far a verification is."""

from typing import Protocol


class Progress(Protocol):
    """Is told of each step."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Hear that so much of a phase is done; a total of 0 means that nobody knows it."""
        ...


def silent(phase: str, done: int, total: int) -> None:
    """Tell nobody."""
