"""The head row of a book: its lock, its place in the chain, its counters."""

from services.ledger.domain.journal import GENESIS_HASH, Head
from services.runtime.clock import from_micros
from services.runtime.database.port import Connection

# Makes the book where there is none; a book that exists is left alone.
_BEGIN_BOOK = """
    INSERT INTO books (book_id, revision, last_sequence, last_hash, last_recorded_at, last_account_id,
        last_event_sequence)
    VALUES ($1, 0, 0, $2, 0, 0, 0)
    ON CONFLICT (book_id) DO NOTHING
"""

# Locks the book: the first statement of every transaction that writes the ledger, so that all that is read after it
# is as the last commit left it.
_LOCK_HEAD = """
    SELECT revision, last_sequence, last_hash, last_recorded_at, last_account_id, last_event_sequence
    FROM books WHERE book_id = $1 FOR UPDATE
"""

# Moves the head on. The revision is compared though the row is locked: a lock that was lost must not pass unseen.
_MOVE_HEAD = """
    UPDATE books SET revision = $1, last_sequence = $2, last_hash = $3, last_recorded_at = $4, last_account_id = $5,
        last_event_sequence = $6
    WHERE book_id = $7 AND revision = $8
"""


class HeadMovedError(RuntimeError):
    """The book's head is not what the lock showed: the lock was lost."""


async def begin_book(connection: Connection, book_id: int) -> None:
    """Make the book if there is none."""
    await connection.execute(_BEGIN_BOOK, book_id, GENESIS_HASH)


async def lock_head(connection: Connection, book_id: int) -> Head:
    """Lock the book until the transaction ends, and read where it stands."""
    rows = await connection.fetch(_LOCK_HEAD, book_id)
    if not rows:
        raise LookupError(f"book {book_id} was never begun")
    revision, last_sequence, last_hash, last_recorded_at, last_account_id, last_event_sequence = rows[0]
    return Head(
        book_id=book_id,
        revision=revision,
        last_sequence=last_sequence,
        last_hash=last_hash,
        last_recorded_at=from_micros(last_recorded_at),
        last_account_id=last_account_id,
        last_event_sequence=last_event_sequence,
    )


async def move_head(
    connection: Connection,
    head: Head,
    *,
    last_sequence: int,
    last_hash: bytes,
    last_recorded_at_micros: int,
    last_account_id: int,
    last_event_sequence: int,
) -> None:
    """Write where the book stands now; its revision rises by one.

    Raises:
        HeadMovedError: Somebody else moved it.
    """
    changed = await connection.execute(
        _MOVE_HEAD,
        head.revision + 1,
        last_sequence,
        last_hash,
        last_recorded_at_micros,
        last_account_id,
        last_event_sequence,
        head.book_id,
        head.revision,
    )
    if changed != 1:
        raise HeadMovedError(f"book {head.book_id} is no longer at revision {head.revision}")
