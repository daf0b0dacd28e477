"""What repeats a part of the journal so that it is found fast: backdated postings, reversals. And rows of no book."""

from services.ledger.domain.state_after import decode_state_after
from services.ledger.queries.verification.findings import Findings
from services.runtime.database.port import Connection

PAGE_ROWS = 500
"""Rows read at once."""

BACKDATED_WRONG = """
SELECT b.account_id, b.sequence, b.leg
FROM backdated b
LEFT JOIN postings p ON p.book_id = b.book_id AND p.sequence = b.sequence AND p.leg = b.leg
    AND p.account_id = b.account_id AND p.amount = b.amount
LEFT JOIN records r ON r.book_id = p.book_id AND r.sequence = p.sequence AND r.effective_at = b.effective_at
    AND r.recorded_at = b.recorded_at AND r.effective_at <> r.recorded_at
WHERE b.book_id = $1 AND r.sequence IS NULL
ORDER BY b.sequence, b.leg
LIMIT 100
"""
"""Backdated postings that the journal has otherwise, or not at all."""

BACKDATED_COUNT = "SELECT COUNT(*) FROM backdated WHERE book_id = $1 AND sequence >= $2"
"""How many postings are backdated."""

REVERSALS_PAGE = """
SELECT v.sequence, v.reversed_by, r.state_after
FROM reversals v LEFT JOIN records r ON r.book_id = v.book_id AND r.sequence = v.reversed_by
WHERE v.book_id = $1 AND v.sequence > $2
ORDER BY v.sequence
LIMIT $3
"""
"""Records that were taken back, with what the record that did it says."""

EXPIRIES_OF_NO_BOOK = """
SELECT e.book_id, e.hold_id FROM hold_expiries e LEFT JOIN books b ON b.book_id = e.book_id
WHERE b.book_id IS NULL
ORDER BY e.book_id, e.expires_at, e.hold_id LIMIT 100
"""
"""Places in the queue that no book looks at. Rows of other tables are missed in the book that they left."""

ANSWERS_OF_NO_BOOK = """
SELECT k.book_id, k.idempotency_key FROM idempotency_keys k LEFT JOIN books b ON b.book_id = k.book_id
WHERE b.book_id IS NULL
ORDER BY k.book_id, k.service, k.idempotency_key LIMIT 100
"""
"""Answers that no book looks at."""


async def check_backdated(
    connection: Connection, findings: Findings, *, book_id: int, from_sequence: int, expected: int
) -> None:
    """Check that exactly the postings with another effective date, `expected` ones, are listed as they are."""
    for account_id, sequence, leg in await connection.fetch(BACKDATED_WRONG, book_id):
        row = f"account {account_id} sequence {sequence} leg {leg}"
        findings.add("backdated", row, "effective_at", "is not what the journal says, or another column isn't.")
    ((count,),) = await connection.fetch(BACKDATED_COUNT, book_id, from_sequence)
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
    for book_id, hold_id in await connection.fetch(EXPIRIES_OF_NO_BOOK):
        findings.add("hold_expiries", f"hold {hold_id.hex()}", "book_id", f"is {book_id}: there is no such book.")
    for book_id, key in await connection.fetch(ANSWERS_OF_NO_BOOK):
        findings.add("idempotency_keys", f"key {key.hex()}", "book_id", f"is {book_id}: there is no such book.")
