"""What the exit codes of `tradeflow` mean, and how a command ends with one."""

import sys
from typing import NoReturn

from services.runtime.database.port import NotGrantedError, TableMissingError

OK = 0
"""Done; every invariant holds."""

VIOLATED = 1
"""An invariant is violated, or the command failed on the way."""

USAGE = 2
"""It could not begin: wrong options or settings, a name of nothing, a port or a data folder that is taken, no data."""

PENDING = 3
"""Migrations are pending: `tradeflow migrate status` and `plan`, which did what they were asked."""

TOO_NEW = 4
"""Newer code has changed the database so that this code can't work on it."""

INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 + SIGINT."""


def told_of_file(error: OSError) -> str:
    """Tell what is the matter with a file, without the number of the error."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def told_of_rights(error: NotGrantedError) -> str:
    """Tell what a database's user may not do, and where to read what each needs."""
    return f"{error}; `tradeflow grants` prints what each role needs"


def told_of_tables(error: TableMissingError) -> str:
    """Tell that a database isn't ready for its service, and what makes it so."""
    return f"the database lacks the service's tables ({error}); `tradeflow migrate apply` makes them"


def end_with(message: str, exit_code: int) -> NoReturn:
    """Say on stderr what is wrong, and end.

    Raises:
        SystemExit: Always.
    """
    sys.stderr.write(f"tradeflow: {message}\n")
    raise SystemExit(exit_code)
