"""The head row of a book: its lock, its place in the chain, its counters."""

from services.ledger.domain.journal import GENESIS_HASH, Head
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import CommitWrites, Connection, Query, Row

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

# Reads where the book stands. Locks nothing.
_READ_HEAD = """
    SELECT revision, last_sequence, last_hash, last_recorded_at, last_account_id, last_event_sequence
    FROM books WHERE book_id = $1
"""

# Moves the head on, and locks it where nothing did before. Where the book stands elsewhere, the revision becomes NULL,
# which the column refuses: nobody reads how many rows a write at commit changed. The revision alone would do but for a
# batch that others tried again meanwhile.
_MOVE_HEAD = """
    UPDATE books SET revision = CASE WHEN revision = $1 AND last_hash = $2 AND last_recorded_at = $3 THEN $4 END,
        last_sequence = $5, last_hash = $6, last_recorded_at = $7, last_account_id = $8, last_event_sequence = $9
    WHERE book_id = $10
"""


async def begin_book(connection: Connection, book_id: int) -> None:
    """Make the book if there is none."""
    await connection.execute(_BEGIN_BOOK, book_id, GENESIS_HASH)


async def lock_head(connection: Connection, book_id: int) -> Head:
    """Lock the book until the transaction ends, and read where it stands."""
    return head_of_rows(book_id, await connection.fetch(_LOCK_HEAD, book_id))


async def current_head(connection: Connection, book_id: int) -> Head:
    """Read where the book stands, without its lock: in this snapshot."""
    return head_of_rows(book_id, await connection.fetch(_READ_HEAD, book_id))


def lock_head_query(book_id: int) -> Query:
    """Make the SELECT that locks the book, to go before others in one round trip."""
    return Query(_LOCK_HEAD, (book_id,))


def head_of_rows(book_id: int, rows: list[Row]) -> Head:
    """Make a head of what `lock_head_query` found.

    Raises:
        LookupError: The book was never begun.
    """
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
    connection: CommitWrites,
    head: Head,
    *,
    last_sequence: int,
    last_hash: bytes,
    last_recorded_at_micros: int,
    last_account_id: int,
    last_event_sequence: int,
) -> None:
    """Write where the book stands now; its revision rises by one.

    A book that doesn't stand at `head` fails the transaction with `ValueMissingError`; see `CommitWrites` of the port.
    """
    assumed = (head.revision, head.last_hash, to_micros(head.last_recorded_at))
    moved = (head.revision + 1, last_sequence, last_hash, last_recorded_at_micros, last_account_id, last_event_sequence)
    await connection.write_at_commit(_MOVE_HEAD, [(*assumed, *moved, head.book_id)])
