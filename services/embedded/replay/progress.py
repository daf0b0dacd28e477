"""How far a run is: a bar on a terminal, lines anywhere else; always on standard error."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0
"""Where there is no terminal: often enough to see life, seldom enough for a log."""


class Meter(Protocol):
    """Shows how far each phase of a run is."""

    def begin(self, phase: str, total: int) -> None:
        """Begin a phase of so many steps; it ends the phase before."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Count steps of the phase as done."""
        ...


class BarMeter:
    """A bar for each phase."""

    def __init__(self, progress: Progress) -> None:
        """Draw on a display that somebody else starts and stops."""
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, phase: str, total: int) -> None:
        """Begin a new bar."""
        self._task = self._progress.add_task(phase, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move the newest bar."""
        if self._task is not None:
            self._progress.advance(self._task, steps)


class LineMeter:
    """A line at the beginning and the end of each phase, and every few seconds."""

    def __init__(self, write: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        """Write lines with `write`."""
        self._write = write
        self._monotonic = monotonic
        self._phase = ""
        self._done = self._total = 0
        self._next_line_at = 0.0

    def begin(self, phase: str, total: int) -> None:
        """Begin a phase."""
        self._phase, self._done, self._total = phase, 0, total
        self._next_line_at = self._monotonic() + SECONDS_BETWEEN_LINES
        self._say()

    def advance(self, steps: int = 1) -> None:
        """Count, and now and then say so."""
        self._done += steps
        if self._done == self._total or self._monotonic() >= self._next_line_at:
            self._next_line_at = self._monotonic() + SECONDS_BETWEEN_LINES
            self._say()

    def _say(self) -> None:
        self._write(f"replay: {self._phase}: {self._done} of {self._total}")


@contextmanager
def showing_progress(console: Console) -> Iterator[Meter]:
    """Give the meter that fits where the console writes to."""
    if not console.is_terminal:
        yield LineMeter(lambda line: console.print(line, highlight=False, soft_wrap=True))
        return
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield BarMeter(progress)
