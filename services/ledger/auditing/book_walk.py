"""One walk through a book: first the newest part of the journal, then the holds, then the accounts; step by step.

Each step reads one snapshot, a bounded number of rows of it, and takes no lock. The checks are those of `verify`.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Self

from services.ledger.auditing.audited_invariant import AuditedInvariant
from services.ledger.auditing.running_sums import RunningSums
from services.ledger.queries.book import Book, read_head
from services.ledger.queries.verification.account_rows import LAST_POSTINGS, AccountRow, read_accounts
from services.ledger.queries.verification.accounts import AccountsWalk, check_account, check_last_postings
from services.ledger.queries.verification.findings import Findings
from services.ledger.queries.verification.holds import HOLDS_PAGE, LAST_HOLD_ID, HoldsWalk, check_hold, legs_of
from services.ledger.queries.verification.journal import RECORD_BEFORE, JournalWalk, begin_journal, check_records
from services.runtime.database.port import Connection
from services.runtime.turns import Rest, in_turns, one_turn

FOLLOWED_RECORDS_MAX = 5_000
"""How many new records one step takes into the sums: half a second's worth of a ledger at its limit. The database adds
their postings up; more of them are taken in several steps, before the next page is read."""

FINDINGS_MAX = 10
"""How many broken rows are told by name."""


class Part(Enum):
    """Where a walk is."""

    JOURNAL = auto()
    HOLDS = auto()
    ACCOUNTS = auto()
    DONE = auto()


class BookWalk:
    """One walk; `step` it until it is done."""

    def __init__(self, book: Book, head_sequence: int, journal: JournalWalk, findings: "InvariantFindings") -> None:
        """Go on from a journal's place; see `begin`."""
        self.findings = findings
        self.sums = RunningSums(book_id=book.book_id, sequence=head_sequence)
        self.part = Part.JOURNAL
        self.rows = 0
        self._book = book
        self._first_head_sequence = head_sequence
        self._journal = journal
        self._holds = HoldsWalk()
        self._accounts = AccountsWalk(from_sequence=1)

    @classmethod
    async def begin(cls, book: Book, *, newest_records: int) -> Self:
        """Begin at the last `newest_records` records.

        Raises:
            UnavailableError: The database is away, or there is no book yet.
        """
        findings = InvariantFindings()
        async with book.database.snapshot() as connection:
            head = await read_head(connection, book)
            first_sequence = max(1, head.last_sequence - newest_records + 1)
            chained = findings[AuditedInvariant.JOURNAL_CHAINED]
            journal = await begin_journal(connection, chained, book.book_id, first_sequence)
        return cls(book, head.last_sequence, journal, findings)

    @property
    def done(self) -> bool:
        """Tell whether the whole book was walked."""
        return self.part is Part.DONE

    async def step(self, rows_max: int, rest: Rest = one_turn) -> None:
        """Read the next rows, and check them, with a rest after every few.

        Raises:
            UnavailableError: The database is away; this walk is over, begin another one.
        """
        async with self._book.database.snapshot() as connection:
            head = await read_head(connection, self._book)
            to_sequence = min(head.last_sequence, self.sums.sequence + FOLLOWED_RECORDS_MAX)
            chained = self.findings[AuditedInvariant.JOURNAL_CHAINED]
            await self.sums.follow(connection, chained, to_sequence=to_sequence)
            if to_sequence < head.last_sequence:
                return
            if self.part is Part.JOURNAL:
                await self._step_journal(connection, chained, head.last_hash, rows_max, rest)
            elif self.part is Part.HOLDS:
                await self._step_holds(connection, rows_max, rest)
            elif self.part is Part.ACCOUNTS:
                await self._step_accounts(connection, rows_max, rest)

    async def _step_journal(
        self, connection: Connection, chained: Findings, head_hash: bytes, rows_max: int, rest: Rest
    ) -> None:
        book_id, journal = self._book.book_id, self._journal
        records = await check_records(connection, chained, book_id, journal, records_max=rows_max, rest=rest)
        self.rows += records
        if records == rows_max and journal.last_sequence < self._first_head_sequence:
            return
        ends = await connection.fetch(RECORD_BEFORE, book_id, self.sums.sequence)
        if self.sums.sequence and (not ends or ends[0][0] != head_hash):
            chained.add("books", f"book {book_id}", "last_hash", "is not that of the last record.")
        self.part = Part.HOLDS

    async def _step_holds(self, connection: Connection, rows_max: int, rest: Rest) -> None:
        adding_up = self.findings[AuditedInvariant.HOLDS_ADD_UP]
        page = await connection.fetch(HOLDS_PAGE, self._book.book_id, self.sums.hold_id, rows_max)
        legs = await legs_of(connection, page, book_id=self._book.book_id)
        async for row in in_turns(page, rest=rest):
            hold = check_hold(adding_up, self._holds, row, legs.get(row[0], []))
            if hold is not None:
                self.sums.note_hold(hold)
        self.rows += len(page)
        if len(page) == rows_max:
            self.sums.hold_id = page[-1][0]
        else:
            # Newer holds than those of the last page are followed from now on, too.
            self.sums.hold_id = LAST_HOLD_ID
            self.part = Part.ACCOUNTS

    async def _step_accounts(self, connection: Connection, rows_max: int, rest: Rest) -> None:
        before = self.sums.account_id
        page = await read_accounts(connection, self._book.book_id, after=before, rows_max=rows_max)
        async for row in in_turns(page, rest=rest):
            self._add_account(row)
        if page:
            span = (self._book.book_id, before, page[-1].account_id)
            lasts = await connection.fetch(LAST_POSTINGS, *span)
            check_last_postings(self.findings[AuditedInvariant.BALANCES_MATCH_POSTINGS], page, lasts)
        self.rows += len(page)
        if len(page) < rows_max:
            self.sums.check_pending(self.findings[AuditedInvariant.PENDING_IS_HELD])
            self.sums.check_zero(self.findings[AuditedInvariant.ZERO_SUM])
            self.part = Part.DONE

    def _add_account(self, row: AccountRow) -> None:
        matching = self.findings[AuditedInvariant.BALANCES_MATCH_POSTINGS]
        account = check_account(matching, self.findings[AuditedInvariant.LIMITS_KEPT], self._accounts, row)
        self.sums.account_id = row.account_id
        if account is not None:
            self.sums.add_account(account)


class InvariantFindings(dict[AuditedInvariant, Findings]):
    """What is wrong, by invariant."""

    def __init__(self) -> None:
        """Begin with nothing wrong."""
        super().__init__({invariant: Findings(FINDINGS_MAX) for invariant in AuditedInvariant})

    @property
    def broken(self) -> Mapping[AuditedInvariant, Findings]:
        """Tell which don't hold."""
        return {invariant: findings for invariant, findings in self.items() if findings.count}
