"""The chart of accounts: every account of a book with its balance, in order of its code."""

from uuid import UUID

from services.ledger.domain.account import Account, AccountType
from services.ledger.queries.book import Book
from services.runtime.database.port import Row

ACCOUNTS_PAGE = """
SELECT a.account_id, a.code, a.account_type, a.wallet_id, a.currency, a.opened_sequence,
    b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending, b.overdraft_limit, b.account_sequence
FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
WHERE a.book_id = $1 AND a.code > $2
ORDER BY a.code
LIMIT $3
"""
"""Accounts after a code, by primary key. Locks nothing."""


async def accounts_page(book: Book, *, after_code: str = "", accounts_max: int = 100) -> tuple[Account, ...]:
    """Read the accounts that follow a code; a page that is not full is the last one."""
    async with book.database.snapshot() as connection:
        rows = await connection.fetch(ACCOUNTS_PAGE, book.book_id, after_code.encode(), accounts_max)
    return tuple(account_of_row(row) for row in rows)


def account_of_row(row: Row) -> Account:
    """Make an account of a row with the columns of `ACCOUNTS_PAGE`."""
    account_id, code, account_type, wallet_id, currency, opened_sequence, *amounts = row
    debits_posted, credits_posted, debits_pending, credits_pending, overdraft_limit, account_sequence = amounts
    return Account(
        account_id=account_id,
        code=code.decode(),
        account_type=AccountType(account_type.decode()),
        wallet_id=UUID(bytes=wallet_id) if wallet_id else None,
        currency=currency.decode(),
        opened_sequence=opened_sequence,
        debits_posted=debits_posted,
        credits_posted=credits_posted,
        debits_pending=debits_pending,
        credits_pending=credits_pending,
        overdraft_limit=overdraft_limit,
        account_sequence=account_sequence,
    )
