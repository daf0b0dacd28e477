"""Writes of one transaction, gathered by their statement: a row costs less among many."""

from collections import defaultdict
from collections.abc import Sequence

from services.runtime.database.port import Connection


class BufferedWrites:
    """Keeps rows until `flush`; statements then run in the order in which they first came, with all of their rows."""

    def __init__(self, connection: Connection) -> None:
        """Work in one transaction."""
        self._connection = connection
        self._rows: defaultdict[str, list[Sequence[object]]] = defaultdict(list)

    def add(self, sql: str, row: Sequence[object]) -> None:
        """Keep a row of arguments for a statement whose result nobody needs."""
        self._rows[sql].append(row)

    async def flush(self) -> None:
        """Hand all rows over; they are written when the transaction ends, at the latest."""
        rows, self._rows = self._rows, defaultdict(list)
        for sql, of_sql in rows.items():
            await self._connection.write_at_commit(sql, of_sql)
