"""How far a command is, on stderr, where that is a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from services.embedded.verification.progress import Progress as Told


@contextmanager
def progress_bar(description: str) -> Iterator[Told]:
    """Show a bar while the body runs, and yield what is to be told of each step."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task, shown = progress.add_task(description, total=None), description

        def told(phase: str, done: int, total: int) -> None:
            nonlocal task, shown
            if phase != shown:  # a bar of its own: the time that remains is of one phase
                progress.remove_task(task)
                task, shown = progress.add_task(phase, total=None), phase
            progress.update(task, completed=done, total=total or None)

        yield told
