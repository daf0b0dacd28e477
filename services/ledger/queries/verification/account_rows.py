"""What is read of accounts and their postings in order to verify them."""

from typing import NamedTuple

from services.ledger.domain.account import Account
from services.ledger.outbound.stored_values import ACCOUNT_COLUMNS, account_of_row
from services.runtime.database.key_order import behind
from services.runtime.database.port import Connection

ACCOUNTS_PAGE = f"""
SELECT {ACCOUNT_COLUMNS}, b.last_posting_hash, r.state_after, l.state_after
FROM accounts a
LEFT JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
LEFT JOIN records r ON r.book_id = a.book_id AND r.sequence = a.opened_sequence
LEFT JOIN records l ON l.book_id = b.book_id AND l.sequence = b.limit_sequence
WHERE a.book_id = $1 AND a.account_id > $2
ORDER BY a.account_id
LIMIT $3
"""  # noqa: S608 - a constant
"""Accounts in order of their numbers, with their balances and the records that opened them and set their limits."""


class AccountRow(NamedTuple):
    """A row of `ACCOUNTS_PAGE`; where balances or a record are missing, their columns are None."""

    account_id: int
    code: bytes
    account_type: bytes
    wallet_id: bytes | None
    currency: bytes
    opened_sequence: int
    debits_posted: int
    credits_posted: int
    debits_pending: int
    credits_pending: int
    overdraft_limit: int
    limit_sequence: int
    account_sequence: int
    event_sequence: int
    event_position: int
    last_posting_hash: bytes | None
    state_opened: bytes | None
    state_limited: bytes | None

    @property
    def name(self) -> str:
        """Say in a finding which it is."""
        return f"account {self.account_id}"

    @property
    def has_balances(self) -> bool:
        """Tell whether its row of `balances` is there; that it isn't is told once."""
        return self.last_posting_hash is not None

    def to_account(self) -> Account:
        """Make the account; a value that no writer wrote is a ValueError."""
        return account_of_row(self[:-3])


BALANCES_WITHOUT_ACCOUNT = """
SELECT b.account_id FROM balances b LEFT JOIN accounts a ON a.book_id = b.book_id AND a.account_id = b.account_id
WHERE b.book_id = $1 AND b.account_id > $2 AND b.account_id <= $3 AND a.account_id IS NULL
ORDER BY b.account_id LIMIT 100
"""
"""Balances of nothing, in a span of numbers."""

POSTINGS_KEY = ("account_id", "account_sequence")
"""In the order of which postings are walked, by the index on it."""

END_OF_POSTINGS_SPAN = f"""
SELECT account_id, account_sequence FROM postings
WHERE book_id = $1 AND {behind(POSTINGS_KEY, first=2)}
ORDER BY account_id, account_sequence, sequence, leg
LIMIT 1 OFFSET $4
"""  # noqa: S608 - constants
"""Where the next so many postings end, by the index alone."""

POSTINGS_SPAN = f"""
SELECT account_id, account_sequence, sequence, leg, amount, balance_after, salt, hash FROM postings
WHERE book_id = $1 AND {behind(POSTINGS_KEY, first=2)}
    AND (account_id < $4 OR (account_id = $4 AND account_sequence <= $5)) AND sequence >= $6
ORDER BY account_id, account_sequence, sequence, leg
LIMIT $7
"""  # noqa: S608 - constants
"""The postings of a span, by the same index; so many more than belong there mean that somebody numbered them anew."""

POSTING_BEFORE = """
SELECT balance_after, hash FROM postings WHERE book_id = $1 AND account_id = $2 AND account_sequence = $3
"""
"""What an account's walk is chained to when it doesn't start at 1."""

LAST_POSTINGS = """
SELECT b.account_id, p.account_sequence, p.balance_after, p.hash, n.sequence
FROM balances b
LEFT JOIN postings p ON p.book_id = b.book_id AND p.account_id = b.account_id
    AND p.account_sequence = b.account_sequence
LEFT JOIN postings n ON n.book_id = b.book_id AND n.account_id = b.account_id
    AND n.account_sequence = b.account_sequence + 1
WHERE b.book_id = $1 AND b.account_id > $2 AND b.account_id <= $3
ORDER BY b.account_id
"""
"""What balances say is their accounts' last posting, and one after it, which must not be there: both by the index on
the account."""


async def read_accounts(connection: Connection, book_id: int, *, after: int, rows_max: int) -> list[AccountRow]:
    """Read the accounts behind a number, in order of their numbers."""
    return [AccountRow(*row) for row in await connection.fetch(ACCOUNTS_PAGE, book_id, after, rows_max)]
