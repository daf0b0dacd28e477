"""Holds as they are now, and what their sellers had of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.ledger.domain.hold import Hold
from services.ledger.domain.refusals import HoldNotFoundError
from services.ledger.outbound.stored_values import HOLD_COLUMNS, hold_of_row
from services.ledger.queries.book import Book
from services.runtime.database.port import Query
from services.runtime.ids import id_of_bytes

HOLD_BY_ID = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1 AND hold_id = $2"  # noqa: S608 - a constant
"""One hold or tombstone by primary key. Locks nothing."""

HOLDS_BY_ID = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1 AND hold_id IN ($in)"  # noqa: S608 - a constant
"""Some holds and tombstones by primary key. Locks nothing."""

SHARES_OF_HOLDS = """
SELECT hold_id, seller_id, SUM(gross), SUM(gross_refunded) FROM capture_legs WHERE book_id = $1 AND hold_id IN ($in)
GROUP BY hold_id, seller_id ORDER BY hold_id, seller_id
"""
"""What each seller got of the holds' captures: walks along the primary key. Locks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerShare:
    """What one seller got of all captures of a hold, fee included, and gave back; in minor units of its currency."""

    seller_id: UUID
    gross_minor: int
    gross_refunded_minor: int


HoldAndShares = tuple[Hold, list[SellerShare]]
"""A hold, and what each of its sellers had of it, in the order of their ids."""


async def hold_by_id(book: Book, hold_id: UUID) -> Hold:
    """Read one hold.

    Raises:
        HoldNotFoundError: There is none, so far: only a void makes that final.
    """
    async with book.database.snapshot() as connection:
        rows = await connection.fetch(HOLD_BY_ID, book.book_id, hold_id.bytes)
    if not rows:
        raise _not_found(hold_id)
    return hold_of_row(rows[0])


async def hold_with_shares(book: Book, hold_id: UUID) -> HoldAndShares:
    """Read one hold, and from the same state of the book what each seller had of it.

    Raises:
        HoldNotFoundError: As for `hold_by_id`.
    """
    found = await holds_with_shares(book, [hold_id])
    if not found:
        raise _not_found(hold_id)
    return found[0]


async def holds_with_shares(book: Book, hold_ids: Sequence[UUID]) -> list[HoldAndShares]:
    """Read holds, and from the same state of the book what each seller had of them.

    They come in the order of `hold_ids`, each once; those that there aren't are left out.
    """
    ids = [hold_id.bytes for hold_id in dict.fromkeys(hold_ids)]
    async with book.database.snapshot() as connection:
        hold_rows, share_rows = await connection.fetch_together(
            [Query(HOLDS_BY_ID, (book.book_id,), in_=ids), Query(SHARES_OF_HOLDS, (book.book_id,), in_=ids)]
        )
    shares: dict[UUID, list[SellerShare]] = defaultdict(list)
    for hold_id, seller_id, gross, refunded in share_rows:
        share = SellerShare(
            seller_id=id_of_bytes(seller_id), gross_minor=int(gross), gross_refunded_minor=int(refunded)
        )
        shares[id_of_bytes(hold_id)].append(share)
    holds = {hold.hold_id: hold for hold in map(hold_of_row, hold_rows)}
    return [(holds[hold_id], shares[hold_id]) for hold_id in dict.fromkeys(hold_ids) if hold_id in holds]


def _not_found(hold_id: UUID) -> HoldNotFoundError:
    return HoldNotFoundError(f"There is no hold {hold_id}.")
