"""Which book is read, and where it stands."""

from dataclasses import dataclass
from datetime import datetime

from services.ledger.outbound.book_writing import stream_of
from services.runtime.clock import from_micros
from services.runtime.database.port import Connection, Database
from services.runtime.errors import UnavailableError

HEAD_OF_BOOK = """
SELECT revision, last_sequence, last_hash, last_recorded_at, last_event_sequence FROM books WHERE book_id = $1
"""
"""The head row, read without its lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A book in a database, to be read."""

    database: Database
    book_id: int

    @property
    def stream(self) -> str:
        """Name the book's events in the outbox."""
        return stream_of(self.book_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookHead:
    """Where a book stands."""

    revision: int
    last_sequence: int
    last_hash: bytes
    last_recorded_at: datetime
    last_event_sequence: int


async def book_head(book: Book) -> BookHead:
    """Read the head.

    Raises:
        UnavailableError: The book was not made yet (reason `book_missing`).
    """
    async with book.database.snapshot() as connection:
        return await read_head(connection, book)


async def read_head(connection: Connection, book: Book) -> BookHead:
    """Read the head in a snapshot.

    Raises:
        UnavailableError: The book was not made yet (reason `book_missing`).
    """
    heads = await connection.fetch(HEAD_OF_BOOK, book.book_id)
    if not heads:
        raise UnavailableError(f"Book {book.book_id} was not made yet.", reason="book_missing")
    revision, last_sequence, last_hash, last_recorded_at, last_event_sequence = heads[0]
    return BookHead(
        revision=revision,
        last_sequence=last_sequence,
        last_hash=last_hash,
        last_recorded_at=from_micros(last_recorded_at),
        last_event_sequence=last_event_sequence,
    )
