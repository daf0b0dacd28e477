"""A hold as it is now, and what its sellers had of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.ledger.domain.hold import Hold
from services.ledger.domain.refusals import HoldNotFoundError
from services.ledger.outbound.stored_values import HOLD_COLUMNS, hold_of_row
from services.ledger.queries.book import Book
from services.runtime.database.port import Query, Row
from services.runtime.ids import id_of_bytes

HOLD_BY_ID = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1 AND hold_id = $2"  # noqa: S608 - a constant
"""One hold or tombstone by primary key. Locks nothing."""

SHARES_OF_HOLD = """
SELECT seller_id, SUM(gross), SUM(gross_refunded) FROM capture_legs WHERE book_id = $1 AND hold_id = $2
GROUP BY seller_id ORDER BY seller_id
"""
"""What each seller got of a hold's captures: a walk along the primary key. Locks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerShare:
    """What one seller got of all captures of a hold, fee included, and gave back; in minor units of its currency."""

    seller_id: UUID
    gross_minor: int
    gross_refunded_minor: int


async def hold_by_id(book: Book, hold_id: UUID) -> Hold:
    """Read one hold.

    Raises:
        HoldNotFoundError: There is none, so far: only a void makes that final.
    """
    async with book.database.snapshot() as connection:
        rows = await connection.fetch(HOLD_BY_ID, book.book_id, hold_id.bytes)
    return _found(rows, hold_id)


async def hold_with_shares(book: Book, hold_id: UUID) -> tuple[Hold, list[SellerShare]]:
    """Read one hold, and from the same state of the book what each seller had of it.

    Raises:
        HoldNotFoundError: As for `hold_by_id`.
    """
    arguments = (book.book_id, hold_id.bytes)
    async with book.database.snapshot() as connection:
        rows, share_rows = await connection.fetch_together(
            [Query(HOLD_BY_ID, arguments), Query(SHARES_OF_HOLD, arguments)]
        )
    shares = [
        SellerShare(seller_id=id_of_bytes(seller_id), gross_minor=int(gross), gross_refunded_minor=int(refunded))
        for seller_id, gross, refunded in share_rows
    ]
    return _found(rows, hold_id), shares


def _found(rows: Sequence[Row], hold_id: UUID) -> Hold:
    if not rows:
        raise HoldNotFoundError(f"There is no hold {hold_id}.")
    return hold_of_row(rows[0])
