"""Which of the servers' errors are worth a retry, which are a key that exists, and which a definition already in place.

Source: https://dev.mysql.com/doc/mysql-errors/9.7/en/ and https://mariadb.com/kb/en/mariadb-error-codes/
"""

import pymysql.err
from pymysql.constants import ER

from services.runtime.database.port import (
    AlreadyInPlaceError,
    DuplicateKeyError,
    NotGrantedError,
    TableMissingError,
    ValueMissingError,
)
from services.runtime.errors import UnavailableError

_LOST = 2013
_TOO_MANY_USER_CONNECTIONS = 1203
_USER_LIMIT_REACHED = 1226
_LOCK_NOWAIT = 3572
_RECORD_HAS_CHANGED = 1020
_QUERY_TIMEOUT = 3024
_STATEMENT_TIMEOUT_MARIADB = 1969

_TABLE_CHANGED = 1412
"""A table was altered since the transaction's snapshot was taken: what migrations do to those who read meanwhile."""

_BUSY = {
    ER.LOCK_WAIT_TIMEOUT,
    ER.LOCK_DEADLOCK,
    ER.CON_COUNT_ERROR,
    _TOO_MANY_USER_CONNECTIONS,
    _USER_LIMIT_REACHED,
    _LOCK_NOWAIT,
    _RECORD_HAS_CHANGED,
    _TABLE_CHANGED,
    _QUERY_TIMEOUT,
    _STATEMENT_TIMEOUT_MARIADB,
}

_READ_ONLY_TRANSACTION = 1792
"""Transactions only read here: a server for reading, unless the transaction itself said so."""

_UNREACHABLE = {
    2002,  # no server there
    2003,  # the same by TCP
    2006,  # the server has gone away
    _LOST,
    1053,  # the server shuts down
    1152,  # aborted connection
    1158,  # reading from the network failed
    1159,  # reading from the network took too long
    1160,  # writing to the network failed
    1161,  # writing to the network took too long
    1184,  # a new aborted connection
    1290,  # read-only: a replica, or a server that was demoted
    1836,  # the same
    _READ_ONLY_TRANSACTION,
    1317,  # interrupted
    1927,  # killed, MariaDB
    3032,  # offline mode: only administrators are let in
    3169,  # killed, MySQL
    4031,  # idle for too long
}

_FULL = {
    1021,  # no space on the disk
    1114,  # a table is full
    3675,  # the disk is full, says InnoDB
}

_DUPLICATE_KEY = {ER.DUP_ENTRY, 1586}

_VALUE_MISSING = {ER.BAD_NULL_ERROR}

_IN_PLACE = {
    ER.TABLE_EXISTS_ERROR,
    ER.BAD_TABLE_ERROR,  # to be dropped, and isn't there
    ER.DUP_FIELDNAME,
    ER.DUP_KEYNAME,
    ER.CANT_DROP_FIELD_OR_KEY,
    3822,  # a constraint of this name exists
}

_TABLE_MISSING = {ER.NO_SUCH_TABLE}

_NOT_GRANTED = {
    ER.DBACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
}

_BREAKS_TRANSACTION = _BUSY | _UNREACHABLE | _FULL
"""After these nothing of the transaction may follow: some roll all of it back, some a part."""


_CLASSES: tuple[tuple[set[int], type[Exception]], ...] = (
    (_DUPLICATE_KEY, DuplicateKeyError),
    (_VALUE_MISSING, ValueMissingError),
    (_IN_PLACE, AlreadyInPlaceError),
    (_TABLE_MISSING, TableMissingError),
    (_NOT_GRANTED, NotGrantedError),
)
"""What the port has a class for."""


class ServerError(Exception):
    """An error as the server sent it."""

    def __init__(self, packet: bytes) -> None:
        """Read an error packet."""
        error = _exception_of(packet)
        super().__init__(str(error))
        self.error = error
        self.code: int = error.args[0]

    @property
    def breaks_transaction(self) -> bool:
        """Tell whether the transaction can't go on."""
        return self.code in _BREAKS_TRANSACTION

    @property
    def ends_connection(self) -> bool:
        """Tell whether the server is about to close this connection, or is no use for writing."""
        return self.code in _UNREACHABLE

    @property
    def is_write_while_reading(self) -> bool:
        """Tell whether a transaction that only reads was asked to write."""
        return self.code == _READ_ONLY_TRANSACTION


class ConnectionLostError(Exception):
    """The connection ended while an answer was awaited, or was never made."""


class DeadlineError(ConnectionLostError):
    """No answer came in time, and the connection was closed; the server may still be at work."""


def _exception_of(packet: bytes) -> pymysql.err.MySQLError:
    try:
        pymysql.err.raise_mysql_exception(packet)
    except pymysql.err.MySQLError as error:
        return error
    raise AssertionError("raise_mysql_exception always raises")


def translated(error: ServerError | ConnectionLostError) -> Exception:
    """Make what the port raises: see `Database`."""
    if isinstance(error, ConnectionLostError):
        return UnavailableError(f"the database can't be reached: {error}", reason="database_unreachable")
    message = str(error.error.args[-1])
    for codes, class_ in _CLASSES:
        if error.code in codes:
            return class_(message)
    for codes, reason in ((_BUSY, "database_busy"), (_UNREACHABLE, "database_unreachable"), (_FULL, "database_full")):
        if error.code in codes:
            return UnavailableError(f"the database can't do this now: {message}", reason=reason)
    return error.error


def outcome_unknown(error: Exception) -> UnavailableError:
    """Make what the port raises when COMMIT was under way."""
    return UnavailableError(
        f"the connection was lost while COMMIT was under way, so that it may have happened or not: {error}",
        reason="transaction_outcome_unknown",
    )
