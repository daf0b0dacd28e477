"""A hold as it is now."""

from uuid import UUID

from services.ledger.domain.hold import Hold
from services.ledger.domain.refusals import HoldNotFoundError
from services.ledger.outbound.stored_values import HOLD_COLUMNS, hold_of_row
from services.ledger.queries.book import Book

HOLD_BY_ID = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1 AND hold_id = $2"  # noqa: S608 - a constant
"""One hold or tombstone by primary key. Locks nothing."""


async def hold_by_id(book: Book, hold_id: UUID) -> Hold:
    """Read one hold.

    Raises:
        HoldNotFoundError: There is none, so far: only a void makes that final.
    """
    async with book.database.snapshot() as connection:
        rows = await connection.fetch(HOLD_BY_ID, book.book_id, hold_id.bytes)
    if not rows:
        raise HoldNotFoundError(f"There is no hold {hold_id}.")
    return hold_of_row(rows[0])
