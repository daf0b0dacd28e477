"""A wallet's balance: as it is now, or what was settled at an instant."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from services.ledger.domain.account import Account, unopened_wallet_account, wallet_account_code
from services.ledger.outbound.stored_values import ACCOUNT_COLUMNS, account_of_row
from services.ledger.queries.book import Book
from services.ledger.queries.instants import account_sequence_at, sequence_at
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection

ACCOUNT_BY_CODE = f"""
SELECT {ACCOUNT_COLUMNS}
FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
WHERE a.book_id = $1 AND a.code = $2
"""  # noqa: S608 - a constant
"""One account by its code. Locks nothing."""

LAST_SEQUENCE = "SELECT last_sequence FROM books WHERE book_id = $1"
"""Where the journal ends. Locks nothing."""

RUNNING_BALANCE = """
SELECT balance_after FROM postings WHERE book_id = $1 AND account_id = $2 AND account_sequence = $3
"""
"""The balance after one posting, by the index on it. Locks nothing."""

COUNTED_EARLIER = """
SELECT COALESCE(SUM(amount), 0) FROM backdated
WHERE book_id = $1 AND account_id = $2 AND effective_at <= $3 AND recorded_at > $4 AND recorded_at <= $5
"""
"""What was recorded after an instant and counts by a date before it, by primary key. Locks nothing."""

COUNTED_LATER = """
SELECT COALESCE(SUM(amount), 0) FROM backdated
WHERE book_id = $1 AND account_id = $2 AND effective_at > $3 AND recorded_at <= $4
"""
"""What was recorded up to an instant and counts only after a date, by primary key. Locks nothing."""

END_OF_TIME_MICROS = 2**63 - 1
"""Later than every instant that the tables hold."""


class PostedBalance(Struct, frozen=True, kw_only=True):
    """What was settled at an instant, on the account's normal side; see the contract's message."""

    wallet_id: UUID
    currency: str
    posted_minor: int
    journal_sequence: int
    account_sequence: int


async def wallet_account(book: Book, wallet_id: UUID, currency: str) -> Account:
    """Read one account with its balances; one that was never opened has zeros."""
    async with book.database.snapshot() as connection:
        return await _account(connection, book, wallet_id, currency)


async def posted_balance(
    book: Book,
    wallet_id: UUID,
    currency: str,
    *,
    recorded_at: datetime | None = None,
    effective_at: datetime | None = None,
) -> PostedBalance:
    """Read what the postings come to that were recorded by one instant and count by another, both inclusive.

    The balance as recorded is one posting's running balance. Few postings count for another day than their own; those
    are added and taken away.
    """
    async with book.database.snapshot() as connection:
        account = await _account(connection, book, wallet_id, currency)
        heads = await connection.fetch(LAST_SEQUENCE, book.book_id)
        head_sequence = heads[0][0] if heads else 0
        sequence = head_sequence
        if recorded_at is not None:
            sequence = await sequence_at(connection, book.book_id, head_sequence, to_micros(recorded_at))
        account_sequence = await account_sequence_at(
            connection, book.book_id, account.account_id, account.account_sequence, sequence
        )
        if effective_at is None:
            posted = await _running_balance(connection, book, account, account_sequence)
        else:
            posted = await _counted_by(connection, book, account, head_sequence, recorded_at, effective_at)
    return PostedBalance(
        wallet_id=wallet_id,
        currency=currency,
        posted_minor=-posted if account.account_type.grows_by_debits else posted,
        journal_sequence=sequence,
        account_sequence=account_sequence,
    )


async def _counted_by(
    connection: Connection,
    book: Book,
    account: Account,
    head_sequence: int,
    recorded_at: datetime | None,
    effective_at: datetime,
) -> int:
    """Sum what counts by a date, of what was recorded by an instant; credits less debits."""
    earlier = effective_at if recorded_at is None else min(effective_at, recorded_at)
    sequence = await sequence_at(connection, book.book_id, head_sequence, to_micros(earlier))
    account_sequence = await account_sequence_at(
        connection, book.book_id, account.account_id, account.account_sequence, sequence
    )
    known_until = END_OF_TIME_MICROS if recorded_at is None else to_micros(recorded_at)
    one_account = (book.book_id, account.account_id)
    added = await connection.fetch(
        COUNTED_EARLIER, *one_account, to_micros(effective_at), to_micros(earlier), known_until
    )
    taken = await connection.fetch(COUNTED_LATER, *one_account, to_micros(effective_at), to_micros(earlier))
    # MySQL sums integers to a decimal.
    return await _running_balance(connection, book, account, account_sequence) + int(added[0][0]) - int(taken[0][0])


async def _running_balance(connection: Connection, book: Book, account: Account, account_sequence: int) -> int:
    rows = await connection.fetch(RUNNING_BALANCE, book.book_id, account.account_id, account_sequence)
    return int(rows[0][0]) if rows else 0


async def _account(connection: Connection, book: Book, wallet_id: UUID, currency: str) -> Account:
    code = wallet_account_code(wallet_id, currency)
    rows = await connection.fetch(ACCOUNT_BY_CODE, book.book_id, code.encode())
    return account_of_row(rows[0]) if rows else unopened_wallet_account(wallet_id, currency)
