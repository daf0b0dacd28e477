"""An export for verification: what the ledger did with each hold, to be compared with what others believe."""

from collections.abc import AsyncIterator

from services.ledger.domain.hold import Hold
from services.ledger.outbound.stored_values import HOLD_COLUMNS, hold_of_row
from services.runtime.database_opening import open_database

ROWS_A_PAGE = 1_000
"""How many are read at once: each page is a short snapshot, so the ledger goes on beside it."""

HOLDS_PAGE = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1 AND hold_id > $2 ORDER BY hold_id LIMIT $3"  # noqa: S608 - a constant
"""Holds and tombstones after an id, by primary key. Locks nothing."""


async def hold_totals(database_url: str, *, book_id: int = 1) -> AsyncIterator[Hold]:
    """Read all holds of a book in the order of their ids, a page at a time; opens no door and changes nothing."""
    database = open_database(database_url)
    try:
        last = b""
        while True:
            async with database.snapshot() as connection:
                rows = await connection.fetch(HOLDS_PAGE, book_id, last, ROWS_A_PAGE)
            for row in rows:
                yield hold_of_row(row)
            if len(rows) < ROWS_A_PAGE:
                return
            last = rows[-1][0]
    finally:
        await database.close()
