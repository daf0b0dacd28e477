"""Which of SQLite's errors are worth a retry, and which are a key that exists."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from services.runtime.database.port import DuplicateKeyError, TableMissingError, ValueMissingError
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

_DUPLICATE_KEY = {
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
}
"""Extended result codes."""

_NO_SUCH_TABLE = "no such table"
"""How the message of a missing table begins; it has no code of its own."""

_PRIMARY_CODE = 0xFF
"""The low byte of an extended result code. Source: https://www.sqlite.org/rescode.html#pve."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Let errors pass as they are, and those that the port names as what it names them."""
    try:
        yield
    except sqlite3.Error as error:
        # Errors of the binding itself (a closed connection, a wrong number of arguments) carry no code.
        code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code in _DUPLICATE_KEY:
            raise DuplicateKeyError(str(error)) from error
        if code == sqlite3.SQLITE_CONSTRAINT_NOTNULL:
            raise ValueMissingError(str(error)) from error
        if code == sqlite3.SQLITE_ERROR and str(error).startswith(_NO_SUCH_TABLE):
            raise TableMissingError(str(error)) from error
        reason = _REASONS.get(code & _PRIMARY_CODE)
        if reason is None:
            raise
        raise UnavailableError(f"the database can't do this now: {error}", reason=reason) from error
