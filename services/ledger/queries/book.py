"""Which book is read, where it stands, and how far its events are published."""

from dataclasses import dataclass
from datetime import datetime

from services.ledger.outbound.book_writing import stream_of
from services.runtime.clock import from_micros
from services.runtime.database.port import Database
from services.runtime.errors import UnavailableError

HEAD_OF_BOOK = """
SELECT revision, last_sequence, last_hash, last_recorded_at, last_event_sequence FROM books WHERE book_id = $1
"""
"""The head row, read without its lock."""

CURSOR_OF_RELAY = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"
"""Up to where the relay published. No row means that it never ran."""


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
    """Where a book stands. `events_unpublished` is the outbox's lag in events."""

    revision: int
    last_sequence: int
    last_hash: bytes
    last_recorded_at: datetime
    events_unpublished: int


async def book_head(book: Book) -> BookHead:
    """Read the head.

    Raises:
        UnavailableError: The book was not made yet (reason `book_missing`).
    """
    async with book.database.snapshot() as connection:
        heads = await connection.fetch(HEAD_OF_BOOK, book.book_id)
        cursors = await connection.fetch(CURSOR_OF_RELAY, book.stream.encode())
    if not heads:
        raise UnavailableError(f"Book {book.book_id} was not made yet.", reason="book_missing")
    revision, last_sequence, last_hash, last_recorded_at, last_event_sequence = heads[0]
    published = cursors[0][0] if cursors else 0
    return BookHead(
        revision=revision,
        last_sequence=last_sequence,
        last_hash=last_hash,
        last_recorded_at=from_micros(last_recorded_at),
        events_unpublished=last_event_sequence - published,
    )
