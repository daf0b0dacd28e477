"""A wallet's balance as it is now."""

from uuid import UUID

from services.ledger.domain.account import Account, unopened_wallet_account, wallet_account_code
from services.ledger.queries.accounts import account_of_row
from services.ledger.queries.book import Book

ACCOUNT_BY_CODE = """
SELECT a.account_id, a.code, a.account_type, a.wallet_id, a.currency, a.opened_sequence,
    b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending, b.overdraft_limit, b.account_sequence
FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
WHERE a.book_id = $1 AND a.code = $2
"""
"""One account by its code. Locks nothing."""


async def wallet_account(book: Book, wallet_id: UUID, currency: str) -> Account:
    """Read one account with its balances; one that was never opened has zeros."""
    code = wallet_account_code(wallet_id, currency)
    async with book.database.snapshot() as connection:
        rows = await connection.fetch(ACCOUNT_BY_CODE, book.book_id, code.encode())
    return account_of_row(rows[0]) if rows else unopened_wallet_account(wallet_id, currency)
