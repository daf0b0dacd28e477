"""The accounts, one by one: each one's postings chained without a gap, and its balances what its last posting says."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.ledger.domain.account import Account, AccountType
from services.ledger.domain.journal import GENESIS_HASH, Posting
from services.ledger.domain.proof import SALT_BYTES, posting_hash
from services.ledger.domain.state_after import decode_state_after
from services.ledger.queries.verification.account_rows import (
    BALANCES_WITHOUT_ACCOUNT,
    END_OF_POSTINGS_SPAN,
    POSTING_BEFORE,
    POSTINGS_SPAN,
    AccountRow,
    read_accounts,
)
from services.ledger.queries.verification.findings import Findings, Told, columns_of
from services.runtime.database.port import Connection, Row

PAGE_ROWS = 2000
"""Accounts read at once: some hundred KiB."""

SPAN_ROWS = 10_000
"""Postings read at once, a few MiB; so many are passed over in one statement where they lie before what is walked."""

NUMBER_MIN, NUMBER_MAX = -(2**63), 2**63 - 1
"""What a column of numbers can hold."""

OPENED_COLUMNS = ("account_id", "code", "account_type", "wallet_id", "currency", "opened_sequence")
"""What never changes of an account."""

LIMIT_COLUMNS = ("account_id", "overdraft_limit", "limit_sequence")
"""What the record says that set the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetTotals:
    """One asset's sums over all accounts, in minor units. `balance_minor` must be zero."""

    currency: str
    accounts: int
    balance_minor: int
    wallets_minor: int
    held_minor: int


@dataclass(slots=True)
class _Sums:
    accounts: int = 0
    balance_minor: int = 0
    wallets_minor: int = 0
    held_minor: int = 0


@dataclass(slots=True, kw_only=True)
class Chain:
    """One account's postings, as far as they were walked."""

    account_sequence: int = 0
    balance_minor: int = 0
    hash: bytes = GENESIS_HASH
    debits_minor: int = 0
    credits_minor: int = 0


@dataclass(slots=True, kw_only=True)
class AccountsWalk:
    """What the walk counted."""

    from_sequence: int
    accounts: int = 0
    accounts_opened: int = 0
    last_account_id: int = 0
    postings: int = 0
    sums: dict[str, _Sums] = field(default_factory=lambda: defaultdict(_Sums))

    def totals(self) -> tuple[AssetTotals, ...]:
        """Tell the sums per asset."""
        return tuple(
            AssetTotals(
                currency=currency,
                accounts=sums.accounts,
                balance_minor=sums.balance_minor,
                wallets_minor=sums.wallets_minor,
                held_minor=sums.held_minor,
            )
            for currency, sums in sorted(self.sums.items())
        )


async def walk_accounts(
    connection: Connection,
    findings: Findings,
    told: Told,
    *,
    book_id: int,
    from_sequence: int,
    remaining_minor: Mapping[int, int],
) -> AccountsWalk:
    """Check every account; of those without postings since `from_sequence`, only the balances' own rules.

    Args:
        connection: Where they are.
        findings: Is told what is wrong.
        told: Is told of the postings.
        book_id: Whose.
        from_sequence: The first record that isn't believed.
        remaining_minor: What is left of the open holds, by account: what it must have set aside.
    """
    walk = AccountsWalk(from_sequence=from_sequence)
    postings = _postings_by_account(connection, book_id, from_sequence)
    following = await anext(postings, None)
    async for account in _accounts(connection, findings, book_id):
        chain = Chain()
        is_touched = following is not None and following[0] == account.account_id
        if is_touched and following is not None and from_sequence > 1:
            chain = await _chain_before(connection, book_id, following)
        while following is not None and following[0] <= account.account_id:
            if following[0] == account.account_id:
                _check_posting(findings, book_id, chain, following)
            walk.postings += 1
            if walk.postings % PAGE_ROWS == 0:
                told(walk.postings)
            following = await anext(postings, None)
        check_account(findings, findings, walk, account)
        _check_pending(findings, account, remaining_minor.get(account.account_id, 0))
        if is_touched or from_sequence == 1:
            check_tail(findings, account, chain, is_whole=from_sequence == 1)
    while following is not None:  # of accounts that don't exist; the journal's walk named them
        walk.postings += 1
        following = await anext(postings, None)
    for total in walk.totals():
        if total.balance_minor:
            findings.add(
                "balances", total.currency, "credits_posted", f"sums to {total.balance_minor} and not to zero."
            )
    return walk


async def _accounts(connection: Connection, findings: Findings, book_id: int) -> AsyncIterator[AccountRow]:
    """Give all accounts in the order of their numbers, and tell of balances in between that belong to none."""
    after = NUMBER_MIN
    while after < NUMBER_MAX:
        rows = await read_accounts(connection, book_id, after=after, rows_max=PAGE_ROWS)
        upto = rows[-1].account_id if len(rows) == PAGE_ROWS else NUMBER_MAX
        for row in rows:
            yield row
        for (account_id,) in await connection.fetch(BALANCES_WITHOUT_ACCOUNT, book_id, after, upto):
            findings.add("balances", f"account {account_id}", "account_id", "names no account.")
        after = upto


async def _postings_by_account(connection: Connection, book_id: int, from_sequence: int) -> AsyncIterator[Row]:
    """Give all postings of the records from `from_sequence` on, in order of account and account sequence.

    Each statement looks at a bounded number of postings, also where all of them lie before that record. What is beyond
    the bound is skipped: the counts tell.
    """
    after = (NUMBER_MIN, NUMBER_MIN)
    while True:
        ends = await connection.fetch(END_OF_POSTINGS_SPAN, book_id, *after, SPAN_ROWS - 1)
        upto = ends[0] if ends else (NUMBER_MAX, NUMBER_MAX)
        span = (book_id, *after, *upto, from_sequence, 2 * SPAN_ROWS)
        for row in await connection.fetch(POSTINGS_SPAN, *span):
            yield row
        if not ends:
            return
        after = upto


async def _chain_before(connection: Connection, book_id: int, posting: Row) -> Chain:
    account_id, account_sequence = posting[0], posting[1]
    before = await connection.fetch(POSTING_BEFORE, book_id, account_id, account_sequence - 1)
    if not before:
        return Chain()
    balance_after, digest = before[0]
    return Chain(account_sequence=account_sequence - 1, balance_minor=balance_after, hash=digest)


def _check_posting(findings: Findings, book_id: int, chain: Chain, posting: Row) -> None:
    account_id, account_sequence, sequence, leg, amount, balance_after, salt, digest = posting
    row = f"sequence {sequence} leg {leg}"
    if account_sequence != chain.account_sequence + 1:
        findings.add("postings", row, "account_sequence", f"is {account_sequence} after {chain.account_sequence}.")
    if balance_after != chain.balance_minor + amount:
        findings.add(
            "postings", row, "balance_after", f"is {balance_after}, and {chain.balance_minor} + {amount} isn't."
        )
    expected = posting_hash(
        book_id=book_id,
        sequence=sequence,
        leg=leg,
        posting=Posting(account_id, account_sequence, amount, balance_after),
        salt=salt,
        previous_hash=chain.hash,
    )
    if expected != digest or len(salt) != SALT_BYTES:
        findings.add("postings", row, "hash", "does not fit the posting and the account's one before it.")
    chain.account_sequence, chain.balance_minor, chain.hash = account_sequence, balance_after, digest
    chain.credits_minor += max(amount, 0)
    chain.debits_minor += max(-amount, 0)


def _check_pending(findings: Findings, row: AccountRow, remaining_minor: int) -> None:
    """Check that an account has set aside what is left of its open holds. Only wallets have any, and pay by debits."""
    if not row.has_balances:
        return
    findings.compare(
        "balances",
        row.name,
        {"debits_pending": remaining_minor, "credits_pending": 0},
        {"debits_pending": row.debits_pending, "credits_pending": row.credits_pending},
    )


def check_account(findings: Findings, limits: Findings, walk: AccountsWalk, row: AccountRow) -> Account | None:
    """Check what an account is by the record that opened it, add its balances to the sums, and return it if readable.

    Args:
        findings: Is told what isn't as the journal says.
        limits: Is told of what lies below its limit.
        walk: Counts.
        row: The account.
    """
    walk.accounts += 1
    walk.last_account_id = row.account_id
    walk.accounts_opened += row.opened_sequence >= walk.from_sequence
    if not row.has_balances:
        findings.add("balances", row.name, "account_id", "is missing.")
        return None
    account: Account | None = None
    with findings.unreadable("accounts", row.name, "account_type"):
        account = row.to_account()
        _add_to_sums(walk.sums[account.currency], account)
        if account.available_minor < 0:
            limits.add("balances", row.name, "debits_posted", f"leaves {account.available_minor} available.")
        with findings.unreadable("accounts", row.name, "opened_sequence"):
            _compare_with_record(findings, "accounts", row.name, OPENED_COLUMNS, account, row.state_opened)
        with findings.unreadable("balances", row.name, "limit_sequence"):
            _compare_with_record(findings, "balances", row.name, LIMIT_COLUMNS, account, row.state_limited)
    return account


def _compare_with_record(
    findings: Findings, table: str, row: str, names: tuple[str, ...], account: Account, state_after: bytes | None
) -> None:
    left = decode_state_after(state_after or b"").account
    if left is None:
        raise ValueError("the record left no account")
    expected = columns_of(left)
    findings.compare(table, row, {name: expected[name] for name in names}, columns_of(account))


def _add_to_sums(sums: _Sums, account: Account) -> None:
    sums.accounts += 1
    sums.balance_minor += account.balance_minor
    if account.account_type is AccountType.WALLET:
        sums.wallets_minor += account.posted_minor
        sums.held_minor += account.pending_outgoing_minor


def check_last_postings(findings: Findings, page: Sequence[AccountRow], lasts: Sequence[Row]) -> None:
    """Check that the balances of a page of accounts are what their last postings say, which nothing follows.

    Args:
        findings: Is told what is wrong.
        page: The accounts.
        lasts: The rows of `LAST_POSTINGS` of the same accounts.
    """
    chains: dict[int, Chain] = {}
    for account_id, account_sequence, balance_after, digest, next_sequence in lasts:
        if account_sequence is not None:
            chains[account_id] = Chain(account_sequence=account_sequence, balance_minor=balance_after, hash=digest)
        if next_sequence is not None:
            told = f"is behind: the posting of sequence {next_sequence} follows."
            findings.add("balances", f"account {account_id}", "account_sequence", told)
    for row in page:
        check_tail(findings, row, chains.get(row.account_id, Chain()), is_whole=False)


def check_tail(findings: Findings, row: AccountRow, chain: Chain, *, is_whole: bool) -> None:
    """Compare an account's balances with its last posting; turnovers only where all postings were walked."""
    if not row.has_balances:
        return
    found = {
        "debits_posted": row.debits_posted,
        "credits_posted": row.credits_posted,
        "account_sequence": row.account_sequence,
        "last_posting_hash": row.last_posting_hash,
    }
    expected: dict[str, object] = {"account_sequence": chain.account_sequence, "last_posting_hash": chain.hash}
    if is_whole:
        expected = {"debits_posted": chain.debits_minor, "credits_posted": chain.credits_minor, **expected}
    elif row.credits_posted - row.debits_posted != chain.balance_minor:
        findings.add("balances", row.name, "credits_posted", f"less debits is not {chain.balance_minor}.")
    findings.compare("balances", row.name, expected, found)
