"""A hold as it is now."""

from uuid import UUID

from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.refusals import HoldNotFoundError
from services.ledger.queries.book import Book
from services.runtime.clock import from_micros
from services.runtime.database.port import Row

HOLD_BY_ID = """
SELECT hold_id, service, wallet_id, account_id, currency, state, held, captured, voided, refunded, expires_at,
    last_sequence
FROM holds
WHERE book_id = $1 AND hold_id = $2
"""
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


def hold_of_row(row: Row) -> Hold:
    """Make a hold of a row with the columns of `HOLD_BY_ID`."""
    hold_id, service, wallet_id, account_id, currency, state, *amounts, expires_at, last_sequence = row
    held, captured, voided, refunded = amounts
    return Hold(
        hold_id=UUID(bytes=hold_id),
        service=service.decode(),
        wallet_id=UUID(bytes=wallet_id),
        account_id=account_id,
        currency=currency.decode(),
        state=HoldState(state.decode()),
        held_minor=held,
        captured_minor=captured,
        voided_minor=voided,
        refunded_minor=refunded,
        expires_at=from_micros(expires_at) if expires_at else None,
        last_sequence=last_sequence,
    )
