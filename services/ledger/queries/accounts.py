"""The chart of accounts: the accounts of a book with their balances, in order of their codes."""

from uuid import UUID

from msgspec import Struct

from services.ledger.domain.account import Account, AccountType
from services.ledger.outbound.stored_values import ACCOUNT_COLUMNS, account_of_row
from services.ledger.queries.book import Book
from services.runtime.database.port import Row

ACCOUNTS_PAGE = f"""
SELECT {ACCOUNT_COLUMNS}
FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
WHERE a.book_id = $1 AND a.code > $2 AND a.code >= $3 AND a.code < $4
ORDER BY a.code
LIMIT $5
"""  # noqa: S608 - a constant
"""Accounts after a code and within a range of codes, by primary key. Locks nothing."""

ACCOUNTS_OF_WALLET_PAGE = f"""
SELECT {ACCOUNT_COLUMNS}
FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
WHERE a.book_id = $1 AND a.wallet_id = $2 AND a.code > $3
ORDER BY a.code
LIMIT $4
"""  # noqa: S608 - a constant
"""Accounts of one wallet after a code, by the index on it. Locks nothing."""

ROWS_SCANNED_MAX = 2000
"""How many accounts are looked at for one page: a filter that few pass must not read the whole chart."""

_AFTER_ALL_CODES = b"\xff"
"""Codes are ASCII."""


class AccountsFilter(Struct, frozen=True, kw_only=True):
    """Which accounts are wanted; what is None, or empty, leaves none out."""

    types: frozenset[AccountType] = frozenset()
    grows_by_debits: bool | None = None
    currency: str = ""
    wallet_id: UUID | None = None
    code_prefix: str = ""

    def fits(self, account: Account) -> bool:
        """Tell whether an account is one of them."""
        return (
            (not self.types or account.account_type in self.types)
            and (self.grows_by_debits is None or account.account_type.grows_by_debits is self.grows_by_debits)
            and (not self.currency or account.currency == self.currency)
            and account.code.startswith(self.code_prefix)
        )


EVERY_ACCOUNT = AccountsFilter()


class AccountsPage(Struct, frozen=True, kw_only=True):
    """Some accounts, and the code to go on after, or nothing at the end."""

    accounts: tuple[Account, ...]
    next_after_code: str = ""


async def accounts_page(
    book: Book, wanted: AccountsFilter = EVERY_ACCOUNT, *, after_code: str = "", accounts_max: int = 100
) -> AccountsPage:
    """Read the accounts that follow a code; a page that isn't full may still have a next one."""
    rows_max = accounts_max if wanted == EVERY_ACCOUNT else max(accounts_max, ROWS_SCANNED_MAX)
    rows = await _rows(book, wanted, after_code, rows_max + 1)
    accounts: list[Account] = []
    for number, row in enumerate(rows[:rows_max], start=1):
        account = account_of_row(row)
        if wanted.fits(account):
            accounts.append(account)
        if len(accounts) == accounts_max or number == rows_max:
            return AccountsPage(accounts=tuple(accounts), next_after_code=account.code if number < len(rows) else "")
    return AccountsPage(accounts=tuple(accounts))


async def _rows(book: Book, wanted: AccountsFilter, after_code: str, rows_max: int) -> list[Row]:
    after = after_code.encode()
    async with book.database.snapshot() as connection:
        if wanted.wallet_id is not None:
            return await connection.fetch(
                ACCOUNTS_OF_WALLET_PAGE, book.book_id, wanted.wallet_id.bytes, after, rows_max
            )
        prefix = wanted.code_prefix.encode()
        return await connection.fetch(ACCOUNTS_PAGE, book.book_id, after, prefix, prefix + _AFTER_ALL_CODES, rows_max)
