"""How far migrations are, on stderr: a line for each statement, and on a terminal how long the present one takes."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from services.runtime.database.migration_modules import Migration
from services.runtime.database.migrations import OnStatement

_SHOWN_CHARACTERS_MAX = 60
"""Of a statement: its verb and its table."""


@contextmanager
def migration_progress() -> Iterator[OnStatement]:
    """Tell of statements while the body runs, and yield what is to be told of each as it begins."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def told(migration: Migration, number: int) -> None:
            line = f"{migration.name} {number + 1}/{len(migration.statements)}: {_beginning(migration, number)}"
            console.print(line, markup=False)
            progress.reset(task, description=line)

        yield told


def _beginning(migration: Migration, number: int) -> str:
    return " ".join(migration.statements[number].split())[:_SHOWN_CHARACTERS_MAX]
