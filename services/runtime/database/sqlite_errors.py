"""Which of SQLite's errors are worth a retry."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from services.runtime.errors import UnavailableError

_REASONS = {
    sqlite3.SQLITE_BUSY: "database_busy",
    sqlite3.SQLITE_LOCKED: "database_busy",
    sqlite3.SQLITE_PROTOCOL: "database_busy",
    sqlite3.SQLITE_FULL: "database_full",
    sqlite3.SQLITE_IOERR: "database_unreachable",
    sqlite3.SQLITE_CANTOPEN: "database_unreachable",
    sqlite3.SQLITE_NOMEM: "database_unreachable",
}
"""Primary result codes. A full or failing disk is here too: the statement is right, and later it will run."""

_PRIMARY_CODE = 0xFF
"""The low byte of an extended result code. Source: https://www.sqlite.org/rescode.html#pve."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Let errors pass as they are, those worth a retry as `UnavailableError`."""
    try:
        yield
    except sqlite3.Error as error:
        # Errors of the binding itself (a closed connection, a wrong number of arguments) carry no code.
        code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        reason = _REASONS.get(code & _PRIMARY_CODE)
        if reason is None:
            raise
        raise UnavailableError(f"the database can't do this now: {error}", reason=reason) from error
