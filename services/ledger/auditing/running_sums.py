"""Sums over a whole book, put together of pages that were read at different times.

All sums speak for one place in the journal, `sequence`. Each step reads, in one snapshot, what the journal added since,
brings what was summed up before to the snapshot's place by it, and then adds the next page. So no snapshot lasts for
longer than a page, committers are never waited for, and the result is exact.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.ledger.domain.state_after import decode_state_after
from services.ledger.queries.verification.findings import Findings
from services.runtime.database.port import Connection

POSTED_SINCE = """
SELECT a.currency, a.account_type, SUM(p.amount)
FROM postings p JOIN accounts a ON a.book_id = p.book_id AND a.account_id = p.account_id
WHERE p.book_id = $1 AND p.sequence > $2 AND p.sequence <= $3 AND p.account_id <= $4
GROUP BY a.currency, a.account_type
"""
"""What a span of the journal added to the accounts that were summed up before."""

HOLDS_CHANGED_SINCE = """
SELECT sequence, hold_id, state_after FROM records
WHERE book_id = $1 AND sequence > $2 AND sequence <= $3 AND hold_id IS NOT NULL
ORDER BY sequence
"""
"""What a span of the journal made of holds."""

PENDING_OF = (
    "SELECT account_id, debits_pending, credits_pending FROM balances WHERE book_id = $1 AND account_id IN ($in)"
)
"""What some accounts have set aside now."""

Pending = tuple[int, int]
"""What an account has set aside to pay, and to get: the second is always 0, since only wallets have holds."""

_NOTHING_PENDING: Pending = (0, 0)


@dataclass(frozen=True, slots=True)
class ActiveHold:
    """What an open hold counts for."""

    account_id: int
    currency: str
    remaining_minor: int


@dataclass(slots=True, kw_only=True)
class RunningSums:
    """The sums over all accounts up to `account_id` and all holds up to `hold_id`, as of `sequence`.

    Memory grows with what is open now, some hundred bytes for each open hold, and not with the book.
    """

    book_id: int
    sequence: int
    account_id: int = -1
    hold_id: bytes = b""
    balances_minor: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """By currency and type of account."""
    active_holds: dict[bytes, ActiveHold] = field(default_factory=dict)
    pending: dict[int, Pending] = field(default_factory=dict)
    """Of the accounts that have set aside anything."""

    async def follow(self, connection: Connection, findings: Findings, *, to_sequence: int) -> None:
        """Bring the sums to a later place in the journal, which the connection's snapshot has reached."""
        if to_sequence > self.sequence:
            if self.account_id >= 0:
                await self._add_posted(connection, to_sequence)
            await self._add_holds(connection, findings, to_sequence)
        self.sequence = to_sequence

    async def _add_posted(self, connection: Connection, to_sequence: int) -> None:
        span = (self.book_id, self.sequence, to_sequence, self.account_id)
        for currency, account_type, amount in await connection.fetch(POSTED_SINCE, *span):
            self.balances_minor[currency.decode(), account_type.decode()] += int(amount)

    async def _add_holds(self, connection: Connection, findings: Findings, to_sequence: int) -> None:
        touched: set[int] = set()
        span = (self.book_id, self.sequence, to_sequence)
        for sequence, hold_id, state_after in await connection.fetch(HOLDS_CHANGED_SINCE, *span):
            with findings.unreadable("records", f"sequence {sequence}", "state_after"):
                hold = decode_state_after(state_after).hold
                if hold is None:
                    continue
                touched.add(hold.account_id)
                if hold_id <= self.hold_id:
                    self.note_hold(hold)
        reread = [account_id for account_id in touched if account_id <= self.account_id]
        for account_id, debits, credits_ in await connection.fetch_in(PENDING_OF, reread, self.book_id):
            self._note_pending(account_id, (debits, credits_))

    def note_hold(self, hold: Hold) -> None:
        """Count a hold as it is now."""
        if hold.is_active:
            self.active_holds[hold.hold_id.bytes] = ActiveHold(hold.account_id, hold.currency, hold.remaining_minor)
        else:
            self.active_holds.pop(hold.hold_id.bytes, None)

    def add_account(self, account: Account) -> None:
        """Add the next account of the walk, as it is in the snapshot."""
        self.balances_minor[account.currency, account.account_type.value] += account.balance_minor
        self._note_pending(account.account_id, (account.debits_pending, account.credits_pending))

    def _note_pending(self, account_id: int, pending: Pending) -> None:
        if pending == _NOTHING_PENDING:
            self.pending.pop(account_id, None)
        else:
            self.pending[account_id] = pending

    def check_pending(self, findings: Findings) -> None:
        """Compare what accounts have set aside with what their open holds hold; both are complete by now."""
        remaining: dict[int, int] = defaultdict(int)
        for hold in self.active_holds.values():
            remaining[hold.account_id] += hold.remaining_minor
        for account_id in sorted({*remaining, *self.pending}):
            debits, credits_ = self.pending.get(account_id, _NOTHING_PENDING)
            findings.compare(
                "balances",
                f"account {account_id}",
                {"debits_pending": remaining.get(account_id, 0), "credits_pending": 0},
                {"debits_pending": debits, "credits_pending": credits_},
            )

    def check_zero(self, findings: Findings) -> None:
        """Check that the balances of each currency sum to zero; all of them are summed up by now."""
        totals: dict[str, int] = defaultdict(int)
        for (currency, _), balance_minor in self.balances_minor.items():
            totals[currency] += balance_minor
        for currency, total in sorted(totals.items()):
            if total:
                findings.add("balances", currency, "credits_posted", f"sums to {total} and not to zero.")
