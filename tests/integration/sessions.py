"""The server's sessions as an administrator sees them: who is there, who waits, and how they die."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pymysql
from pymysql.constants import ER

from tests.parts.sql_servers import administrator

LOCK_NOWAIT = 3572
"""The error of a statement that would have to wait for a lock and doesn't want to."""


class Sessions:
    """A session of its own, outside of what is tested, in the schema that is tested."""

    def __init__(self, connection: "pymysql.Connection[pymysql.cursors.Cursor]", schema: str) -> None:
        """Look at one schema."""
        self._connection = connection
        self._schema = schema
        self._own_id = int(self.ask("SELECT CONNECTION_ID()")[0][0])

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def others(self) -> list[int]:
        """List the connections to the schema, but for this one.

        By the performance schema: other lists show the statements' text, and fail where that holds binary data.
        """
        rows = self.ask("SELECT id, db FROM performance_schema.processlist")
        return [int(row[0]) for row in rows if row[1] == self._schema and int(row[0]) != self._own_id]

    def kill(self, connection_id: int) -> None:
        """Kill a connection; it may have ended meanwhile."""
        try:
            self.ask(f"KILL CONNECTION {connection_id}")
        except pymysql.err.OperationalError as error:
            if error.args[0] != ER.NO_SUCH_THREAD:
                raise

    def waiting(self) -> list[int]:
        """List the connections to the schema that wait for a row's lock."""
        rows = self.ask(
            "SELECT t.processlist_id FROM performance_schema.data_lock_waits w "
            "JOIN performance_schema.threads t ON t.thread_id = w.requesting_thread_id"
        )
        return sorted({int(row[0]) for row in rows} & set(self.others()))

    def lock_table(self, table: str) -> None:
        """Begin a transaction that lets nobody write to the table: it holds all rows, and all gaps between them."""
        self.ask("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.ask("BEGIN")
        self.ask(f"SELECT * FROM {table} FOR UPDATE")  # noqa: S608 - a test's own table

    def is_locked(self, table: str) -> bool:
        """Tell whether somebody holds a row of the table."""
        try:
            self.ask("BEGIN")
            self.ask(f"SELECT * FROM {table} FOR UPDATE NOWAIT")  # noqa: S608 - a test's own table
        except pymysql.err.OperationalError as error:
            if error.args[0] != LOCK_NOWAIT:
                raise
            return True
        finally:
            self.ask("ROLLBACK")
        return False


@contextmanager
def sessions_of(url: str) -> Iterator[Sessions]:
    """Look at the schema that a URL names."""
    with closing(administrator(url)) as connection:
        yield Sessions(connection, urlsplit(url).path.removeprefix("/"))
