"""A wallet's statement: its postings, oldest first, with the balance after each."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.ledger.domain.account import wallet_account_code
from services.ledger.queries.book import Book
from services.runtime.clock import from_micros
from services.runtime.database.port import Row

STATEMENT_PAGE = """
SELECT p.sequence, p.account_sequence, r.recorded_at, r.kind, p.amount, p.balance_after, r.hold_id
FROM accounts a
JOIN postings p ON p.book_id = a.book_id AND p.account_id = a.account_id
JOIN records r ON r.book_id = p.book_id AND r.sequence = p.sequence
WHERE a.book_id = $1 AND a.code = $2 AND p.account_sequence > $3
ORDER BY p.account_sequence
LIMIT $4
"""
"""The postings of one account after an account sequence, by the index on it. Locks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One posting; `amount_minor` is positive when the wallet received."""

    journal_sequence: int
    account_sequence: int
    recorded_at: datetime
    kind: str
    amount_minor: int
    balance_minor: int
    hold_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPage:
    """Some lines, and the account sequence to go on after, or 0 at the end."""

    lines: tuple[StatementLine, ...]
    next_after_account_sequence: int


async def statement_page(
    book: Book, wallet_id: UUID, currency: str, *, after_account_sequence: int, lines_max: int
) -> StatementPage:
    """Read the lines after an account sequence; a page that is not the last one is full."""
    code = wallet_account_code(wallet_id, currency).encode()
    async with book.database.snapshot() as connection:
        rows = await connection.fetch(STATEMENT_PAGE, book.book_id, code, after_account_sequence, lines_max + 1)
    lines = tuple(_line(row) for row in rows[:lines_max])
    has_more = len(rows) > lines_max
    return StatementPage(lines=lines, next_after_account_sequence=lines[-1].account_sequence if has_more else 0)


def _line(row: Row) -> StatementLine:
    journal_sequence, account_sequence, recorded_at, kind, amount, balance_after, hold_id = row
    return StatementLine(
        journal_sequence=journal_sequence,
        account_sequence=account_sequence,
        recorded_at=from_micros(recorded_at),
        kind=kind.decode(),
        amount_minor=amount,
        balance_minor=balance_after,
        hold_id=UUID(bytes=hold_id) if hold_id else None,
    )
