"""Statements for many rows: as few and as cheap ones as the server takes."""

from collections.abc import Iterator, Sequence

from services.runtime.mysql import packing
from services.runtime.mysql.server import Server
from services.runtime.mysql.statement import InsertOfRow, Statement, UpdateOfRow

ROWS_MAX = 1_024
"""Rows of one INSERT. Past some hundred nothing gets faster, and a packet only gets larger."""

BYTES_MAX = 4 * 1024 * 1024
"""Where an INSERT of large rows is cut; a server's `max_allowed_packet` is 16 MiB or more by default."""


def statements_for(statement: Statement, rows: Sequence[Sequence[object]], server: Server) -> Iterator[bytes]:
    """Write a statement for rows of arguments, in their order."""
    if statement.update is not None and server is Server.MYSQL:
        yield from _updates(statement, statement.update, rows)
        return
    if statement.insert is None:
        yield from _one_by_one(statement, rows)
        return
    for start in range(0, len(rows), ROWS_MAX):
        yield from _inserts(statement.insert, rows[start : start + ROWS_MAX], server)


def _one_by_one(statement: Statement, rows: Sequence[Sequence[object]]) -> Iterator[bytes]:
    for row in rows:
        yield statement.template.render(row).encode("latin-1")


def _updates(statement: Statement, update: UpdateOfRow, rows: Sequence[Sequence[object]]) -> Iterator[bytes]:
    for start in range(0, len(rows), ROWS_MAX):
        some = rows[start : start + ROWS_MAX]
        written = packing.pack_update(update, some) if len(some) >= packing.UPDATED_ROWS_MIN else None
        if written is None:
            yield from _one_by_one(statement, some)
        else:
            yield written


def _inserts(insert: InsertOfRow, rows: Sequence[Sequence[object]], server: Server) -> Iterator[bytes]:
    written = packing.pack(insert, rows) if server is Server.MYSQL and len(rows) >= packing.ROWS_MIN else None
    if written is None:
        row = insert.row_template()
        written = f"{insert.head} VALUES {','.join(map(row.render, rows))}{insert.tail}".encode("latin-1")
    if len(written) <= BYTES_MAX or len(rows) == 1:
        yield written
        return
    half = len(rows) // 2
    yield from _inserts(insert, rows[:half], server)
    yield from _inserts(insert, rows[half:], server)
