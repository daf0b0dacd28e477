"""What repeats a part of the journal so that it is found fast: backdated postings, reversals. And rows of no book."""

from collections.abc import Mapping

from services.ledger.domain.state_after import decode_state_after
from services.ledger.queries.verification.findings import Findings
from services.runtime.database.key_order import behind
from services.runtime.database.port import Connection

PAGE_ROWS = 500
"""Rows read at once."""

NUMBER_MIN, BOOK_ID_MIN = -(2**63), -(2**31) - 1
"""Less than any row has: of a BIGINT, and of a book's number."""

BACKDATED_KEY = ("b.account_id", "b.effective_at", "b.sequence", "b.leg")
"""In the order of which they are walked: the primary key."""

BACKDATED_PAGE = f"""
SELECT b.account_id, b.effective_at, b.sequence, b.leg, r.sequence
FROM backdated b
LEFT JOIN postings p ON p.book_id = b.book_id AND p.sequence = b.sequence AND p.leg = b.leg
    AND p.account_id = b.account_id AND p.amount = b.amount
LEFT JOIN records r ON r.book_id = p.book_id AND r.sequence = p.sequence AND r.effective_at = b.effective_at
    AND r.recorded_at = b.recorded_at AND r.effective_at <> r.recorded_at
WHERE b.book_id = $1 AND {behind(BACKDATED_KEY, first=2)}
ORDER BY b.account_id, b.effective_at, b.sequence, b.leg
LIMIT $6
"""  # noqa: S608 - constants
"""Backdated postings, with their record where the journal has them so."""

REVERSALS_PAGE = """
SELECT v.sequence, v.reversed_by, r.state_after
FROM reversals v LEFT JOIN records r ON r.book_id = v.book_id AND r.sequence = v.reversed_by
WHERE v.book_id = $1 AND v.sequence > $2
ORDER BY v.sequence
LIMIT $3
"""
"""Records that were taken back, with what the record that did it says."""

BOOKS = "SELECT book_id FROM books"
"""All books of the database."""

NEXT_BOOK_OF_EXPIRIES = "SELECT MIN(book_id) FROM hold_expiries WHERE book_id > $1"
"""The next book that the queue has places of, by the first column of the primary key."""

NEXT_BOOK_OF_ANSWERS = "SELECT MIN(book_id) FROM idempotency_keys WHERE book_id > $1"
"""The next book that there are answers of, in the same way."""

NEXT_BOOK_OF_TABLE: Mapping[str, str] = {
    "hold_expiries": NEXT_BOOK_OF_EXPIRIES,
    "idempotency_keys": NEXT_BOOK_OF_ANSWERS,
}
"""Where there is no such book, nobody looks at these rows; those of other tables are missed in the book they left."""


async def check_backdated(
    connection: Connection, findings: Findings, *, book_id: int, from_sequence: int, expected: int
) -> None:
    """Check that exactly the postings with another effective date, `expected` ones, are listed as they are."""
    count = 0
    after = (NUMBER_MIN,) * len(BACKDATED_KEY)
    while page := await connection.fetch(BACKDATED_PAGE, book_id, *after, PAGE_ROWS):
        for account_id, _, sequence, leg, found in page:
            count += sequence >= from_sequence
            if found is None:
                row = f"account {account_id} sequence {sequence} leg {leg}"
                findings.add("backdated", row, "effective_at", "is not what the journal says, or another column isn't.")
        after = page[-1][: len(BACKDATED_KEY)]
    if count != expected:
        findings.add("backdated", "all rows", "*", f"are {count}, and the journal backdates {expected}.")


async def check_reversals(
    connection: Connection, findings: Findings, *, book_id: int, from_sequence: int, expected: int
) -> None:
    """Check that exactly the records that were taken back, by `expected` others, are listed as such."""
    after = count = 0
    while rows := await connection.fetch(REVERSALS_PAGE, book_id, after, PAGE_ROWS):
        for sequence, reversed_by, state_after in rows:
            count += reversed_by >= from_sequence
            with findings.unreadable("reversals", f"sequence {sequence}", "reversed_by"):
                if decode_state_after(state_after or b"").reverses != sequence:
                    raise ValueError(f"record {reversed_by} takes another one back")
        after = rows[-1][0]
    if count != expected:
        findings.add("reversals", "all rows", "*", f"are {count}, and the journal has {expected}.")


async def check_strays(connection: Connection, findings: Findings) -> None:
    """Look for rows of books that don't exist, in tables where nothing misses a row."""
    books = {book_id for (book_id,) in await connection.fetch(BOOKS)}
    for table, next_book in NEXT_BOOK_OF_TABLE.items():
        ((book_id,),) = await connection.fetch(next_book, BOOK_ID_MIN)
        while book_id is not None:
            if book_id not in books:
                findings.add(table, f"book {book_id}", "book_id", f"is {book_id}: there is no such book.")
            ((book_id,),) = await connection.fetch(next_book, book_id)
