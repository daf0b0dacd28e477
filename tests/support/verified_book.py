"""A book verified by its database's URL, as `tradeflow verify` does, whether or not a ledger runs on it."""

from services.ledger.queries.book import Book
from services.ledger.queries.verify import PartsProgress, VerifyReport, no_parts, verify_book
from services.runtime.database_opening import open_database


async def verified(
    database_url: str, progress: PartsProgress = no_parts, *, book_id: int = 1, from_sequence: int = 1
) -> VerifyReport:
    """Open the database, verify the book from a sequence on, and close it."""
    database = open_database(database_url)
    try:
        return await verify_book(Book(database=database, book_id=book_id), progress, from_sequence=from_sequence)
    finally:
        await database.close()


def no_progress(_done: int, _total: int) -> None:
    """Tell nobody how far an export or a proof is."""
