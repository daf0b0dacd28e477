"""A wallet's statement: its postings with the balance after each, oldest or newest first."""

from datetime import datetime
from enum import Enum
from uuid import UUID

from msgspec import Struct

from services.ledger.domain.account import wallet_account_code
from services.ledger.queries.book import Book
from services.ledger.queries.instants import account_sequence_at, sequence_at
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection, Row

ACCOUNT_OF_STATEMENT = """
SELECT a.account_id, b.account_sequence, k.last_sequence
FROM accounts a
JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
JOIN books k ON k.book_id = a.book_id
WHERE a.book_id = $1 AND a.code = $2
"""
"""An account, its newest posting, and where the journal ends. Locks nothing."""

LINES_FORWARD = """
SELECT p.sequence, p.account_sequence, r.recorded_at, r.effective_at, r.kind, p.amount, p.balance_after, r.hold_id
FROM postings p
JOIN records r ON r.book_id = p.book_id AND r.sequence = p.sequence
WHERE p.book_id = $1 AND p.account_id = $2 AND p.account_sequence > $3 AND p.account_sequence <= $4
ORDER BY p.account_sequence
LIMIT $5
"""
"""Postings of one account between two account sequences, oldest first, by the index on it. Locks nothing."""

LINES_BACKWARD = """
SELECT p.sequence, p.account_sequence, r.recorded_at, r.effective_at, r.kind, p.amount, p.balance_after, r.hold_id
FROM postings p
JOIN records r ON r.book_id = p.book_id AND r.sequence = p.sequence
WHERE p.book_id = $1 AND p.account_id = $2 AND p.account_sequence > $3 AND p.account_sequence <= $4
ORDER BY p.account_sequence DESC
LIMIT $5
"""
"""The same, newest first."""

ROWS_SCANNED_MAX = 2000
"""How many postings are looked at for one page: a filter that few pass must not read the whole account."""


class Direction(Enum):
    """Which way money went, seen from the wallet."""

    ANY = "any"
    """Either."""
    IN = "in"
    """The wallet received."""
    OUT = "out"
    """The wallet paid."""


class StatementLine(Struct, frozen=True, kw_only=True):
    """One posting; `amount_minor` is positive when the wallet received."""

    journal_sequence: int
    account_sequence: int
    recorded_at: datetime
    effective_at: datetime
    kind: str
    amount_minor: int
    balance_minor: int
    hold_id: UUID | None


class StatementFilter(Struct, frozen=True, kw_only=True):
    """Which lines are wanted, and in which order; what is None, or empty, leaves none out."""

    recorded_from: datetime | None = None
    recorded_until: datetime | None = None
    """Exclusive."""
    kinds: frozenset[str] = frozenset()
    direction: Direction = Direction.ANY
    newest_first: bool = False

    @property
    def looks_at_lines(self) -> bool:
        """Tell whether a line must be read to know whether it is wanted."""
        return bool(self.kinds) or self.direction is not Direction.ANY

    def fits(self, line: StatementLine) -> bool:
        """Tell whether a line within the time is wanted."""
        if self.kinds and line.kind not in self.kinds:
            return False
        return self.direction is Direction.ANY or (line.amount_minor > 0) is (self.direction is Direction.IN)


EVERY_LINE = StatementFilter()


class StatementPage(Struct, frozen=True, kw_only=True):
    """Some lines, and the account sequence to go on after, or 0 at the end."""

    lines: tuple[StatementLine, ...]
    next_after_account_sequence: int


async def statement_page(
    book: Book,
    wallet_id: UUID,
    currency: str,
    wanted: StatementFilter = EVERY_LINE,
    *,
    after_account_sequence: int,
    lines_max: int,
) -> StatementPage:
    """Read the lines that follow an account sequence, in the order of the statement; 0 is its beginning.

    A page of a statement that leaves out lines by what they say may be short, and still have a next one.
    """
    rows_max = max(lines_max, ROWS_SCANNED_MAX) if wanted.looks_at_lines else lines_max
    async with book.database.snapshot() as connection:
        rows = await _rows(
            connection, book, wallet_account_code(wallet_id, currency), wanted, after_account_sequence, rows_max + 1
        )
    lines: list[StatementLine] = []
    for number, row in enumerate(rows[:rows_max], start=1):
        line = _line(row)
        if wanted.fits(line):
            lines.append(line)
        if number < len(rows) and (len(lines) == lines_max or number == rows_max):
            return StatementPage(lines=tuple(lines), next_after_account_sequence=line.account_sequence)
    return StatementPage(lines=tuple(lines), next_after_account_sequence=0)


async def _rows(
    connection: Connection, book: Book, code: str, wanted: StatementFilter, after: int, rows_max: int
) -> list[Row]:
    accounts = await connection.fetch(ACCOUNT_OF_STATEMENT, book.book_id, code.encode())
    if not accounts:
        return []
    account_id, newest, last_sequence = accounts[0]

    async def posted_before(instant: datetime) -> int:
        sequence = await sequence_at(connection, book.book_id, last_sequence, to_micros(instant) - 1)
        return await account_sequence_at(connection, book.book_id, account_id, newest, sequence)

    low = 0 if wanted.recorded_from is None else await posted_before(wanted.recorded_from)
    high = newest if wanted.recorded_until is None else await posted_before(wanted.recorded_until)
    if wanted.newest_first:
        high = min(high, after - 1) if after else high
        return await connection.fetch(LINES_BACKWARD, book.book_id, account_id, low, high, rows_max)
    return await connection.fetch(LINES_FORWARD, book.book_id, account_id, max(low, after), high, rows_max)


def _line(row: Row) -> StatementLine:
    journal_sequence, account_sequence, recorded_at, effective_at, kind, amount, balance_after, hold_id = row
    return StatementLine(
        journal_sequence=journal_sequence,
        account_sequence=account_sequence,
        recorded_at=from_micros(recorded_at),
        effective_at=from_micros(effective_at),
        kind=kind.decode(),
        amount_minor=amount,
        balance_minor=balance_after,
        hold_id=UUID(bytes=hold_id) if hold_id else None,
    )
