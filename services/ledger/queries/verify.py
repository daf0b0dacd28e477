"""Verify a book: is every number what the journal says, and is the journal unbroken?

    journal    each record follows the one before it, by sequence, time and hash; postings sum to zero
    holds      each is what its newest record left
    accounts   each posting follows the account's one before it; balances are what the last one says; set aside is what
               open holds still hold
    events     each wallet's events are numbered without a gap, as far as they are kept
    keys       each record's key is the one that it was made under; answers without a record are as they were given
    sides      backdated postings and reversals are those of the journal
    head       the book stands at its last record

All of it reads one snapshot, in pages, none of which takes longer in a larger book: it runs beside the service, and its
memory grows with what is open now, not with the book.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from services.ledger.domain.journal import GENESIS_HASH
from services.ledger.queries.book import Book
from services.ledger.queries.verification.accounts import AccountsWalk, AssetTotals, walk_accounts
from services.ledger.queries.verification.events import check_events, check_keys
from services.ledger.queries.verification.findings import Findings, Problem, Told
from services.ledger.queries.verification.holds import HoldsWalk, walk_holds
from services.ledger.queries.verification.journal import JournalWalk, walk_journal
from services.ledger.queries.verification.side_tables import check_backdated, check_reversals, check_strays
from services.runtime.database.port import Connection, Row
from services.runtime.errors import NotFoundError

HEAD_OF_BOOK = """
SELECT last_sequence, last_hash, last_recorded_at, last_account_id, last_event_sequence FROM books WHERE book_id = $1
"""
"""Where the book says that it stands."""

FIRST_RECORD = "SELECT sequence FROM records WHERE book_id = $1 ORDER BY sequence LIMIT 1"
"""What tells a book that isn't there from one whose own row was taken away."""

NO_HEAD: Row = (0, GENESIS_HASH, 0, 0, 0)
"""Where a book would stand that has no row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was looked at, and what is wrong with it."""

    book_id: int
    from_sequence: int
    last_sequence: int
    last_hash: bytes
    records: int
    postings: int
    accounts: int
    wallets: int
    holds: int
    holds_active: int
    capture_legs: int
    keys: int
    totals: tuple[AssetTotals, ...]
    problems: tuple[Problem, ...]
    """The first ones found, in the order of the walk; `problems_found` counts all."""
    problems_found: int
    duration_seconds: float


PartsProgress = Callable[[str, int, int], None]
"""Is told the part that is looked at, how much of it was, and how much there is; 0 where nobody knows."""


def no_parts(_part: str, _done: int, _total: int) -> None:
    """Tell nobody."""


async def verify_book(book: Book, progress: PartsProgress = no_parts, *, from_sequence: int = 1) -> VerifyReport:
    """Verify a book from a sequence on; the records before it are believed, and so are accounts without later postings.

    Args:
        book: Which.
        progress: Is told how far it is, page by page.
        from_sequence: The first record to check; 1 checks everything.

    Raises:
        NotFoundError: There is no such book (`book_missing`).
    """
    began_at_seconds = time.monotonic()
    findings = Findings()
    async with book.database.snapshot() as connection:
        walked = await _walk(connection, findings, book.book_id, from_sequence, progress)
    _check_counts(findings, walked, from_sequence)
    _check_head(findings, walked, book.book_id)
    journal, accounts, holds = walked.journal, walked.accounts, walked.holds
    return VerifyReport(
        book_id=book.book_id,
        from_sequence=from_sequence,
        last_sequence=journal.last_sequence,
        last_hash=journal.last_hash,
        records=journal.records,
        postings=journal.postings,
        accounts=accounts.accounts,
        wallets=walked.wallets,
        holds=holds.holds,
        holds_active=holds.holds_active,
        capture_legs=holds.legs,
        keys=walked.keys,
        totals=accounts.totals(),
        problems=findings.problems,
        problems_found=findings.count,
        duration_seconds=time.monotonic() - began_at_seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walked:
    head: Row
    journal: JournalWalk
    accounts: AccountsWalk
    holds: HoldsWalk
    wallets: int
    keys: int


async def _walk(
    connection: Connection, findings: Findings, book_id: int, from_sequence: int, progress: PartsProgress
) -> _Walked:
    head = await _head_of(connection, findings, book_id)
    journal = await walk_journal(
        connection,
        findings,
        book_id=book_id,
        from_sequence=from_sequence,
        head_sequence=head[0],
        progress=partial(progress, "journal"),
    )
    span = {"book_id": book_id, "from_sequence": from_sequence}
    await check_backdated(connection, findings, **span, expected=journal.backdated)
    await check_reversals(connection, findings, **span, expected=journal.reversals)
    await check_strays(connection, findings)
    holds_expected = journal.holds_made if from_sequence == 1 else 0
    holds = await walk_holds(connection, findings, _told(progress, "holds", holds_expected), book_id=book_id)
    accounts = await walk_accounts(
        connection,
        findings,
        _told(progress, "accounts", journal.postings),
        **span,
        remaining_minor=holds.remaining_minor,
    )
    return _Walked(
        head=head,
        journal=journal,
        accounts=accounts,
        holds=holds,
        wallets=await check_events(
            connection,
            findings,
            _told(progress, "events", head[4]),
            book_id=book_id,
            last_event_sequence=head[4],
            accounts=accounts.accounts,
        ),
        keys=journal.keys + await check_keys(connection, findings, _told(progress, "keys", 0), book_id=book_id),
    )


async def _head_of(connection: Connection, findings: Findings, book_id: int) -> Row:
    heads = await connection.fetch(HEAD_OF_BOOK, book_id)
    if heads:
        return heads[0]
    if not await connection.fetch(FIRST_RECORD, book_id):
        raise NotFoundError(f"There is no book {book_id}.", reason="book_missing")
    told = "is missing, and there are records of it: it was taken away, or an import was broken off."
    findings.add("books", f"book {book_id}", "book_id", told)
    return NO_HEAD


def _told(progress: PartsProgress, part: str, total: int) -> Told:
    return lambda done: progress(part, done, max(done, total) if total else 0)


def _check_counts(findings: Findings, walked: _Walked, from_sequence: int) -> None:
    """Compare what the journal made with what is there: rows that vanished, or that no record made."""
    journal, accounts, holds = walked.journal, walked.accounts, walked.holds
    counts = [("accounts", journal.accounts_opened, accounts.accounts_opened, "opened")]
    counts.append(("postings", journal.postings, accounts.postings, "posted"))
    if from_sequence == 1:
        counts.append(("holds", journal.holds_made, holds.holds, "made"))
        counts.append(("capture_legs", journal.legs_made, holds.legs, "made"))
    for table, made, there, verb in counts:
        if made != there:
            findings.add(table, "all rows", "*", f"are {there}, and the journal {verb} {made}.")


def _check_head(findings: Findings, walked: _Walked, book_id: int) -> None:
    last_sequence, last_hash, last_recorded_at, last_account_id, _ = walked.head
    row = f"book {book_id}"
    findings.compare(
        "books",
        row,
        {
            "last_sequence": walked.journal.last_sequence,
            "last_hash": walked.journal.last_hash,
            "last_account_id": walked.accounts.last_account_id,
        },
        {"last_sequence": last_sequence, "last_hash": last_hash, "last_account_id": last_account_id},
    )
    # Remembered refusals move the book's time on without a record.
    if last_recorded_at < walked.journal.last_recorded_at_micros:
        findings.add("books", row, "last_recorded_at", "is before that of the last record.")
