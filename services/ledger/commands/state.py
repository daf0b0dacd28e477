"""What a batch's commands see of the book, and what they leave behind.

The committer reads the state under the book's lock; `decide` works on it command by command. It is one batch's alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from services.ledger.domain.account import Account
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import JournalEntry, Record
from services.ledger.domain.keys import RecordedKey

MICROSECOND = timedelta(microseconds=1)
"""The step of the ledger's time: two records never share an instant."""

KeyScope = tuple[str, str]
"""A service and its key."""

LegKey = tuple[int, UUID]
"""A capture's number and a seller, within one hold."""


@dataclass(slots=True, kw_only=True)
class BookState:
    """The part of a book that a batch names. Whatever is missing here does not exist in the book.

    `wallets` has every wallet that the batch may tell something, with the code of its account that carries the newest
    event, or "" where the wallet has no account: to guess would give two events the same number. `entries` are the
    records that the batch wants to take back, `written` those that it wrote so far. The counters are the head row's.
    """

    last_sequence: int
    last_recorded_at: datetime
    last_account_id: int
    last_event_sequence: int
    accounts: dict[str, Account] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    capture_legs: dict[UUID, dict[LegKey, CaptureLeg]] = field(default_factory=dict)
    keys: dict[KeyScope, RecordedKey] = field(default_factory=dict)
    wallets: dict[UUID, str] = field(default_factory=dict)
    entries: dict[int, JournalEntry] = field(default_factory=dict)
    written: list[Record] = field(default_factory=list, compare=False)

    def next_instant(self, now: datetime) -> datetime:
        """Tell when what happens now is recorded: the journal's time never goes back, whatever the clock says."""
        return max(now, self.last_recorded_at + MICROSECOND)

    def legs_of(self, hold_id: UUID) -> Iterable[CaptureLeg]:
        """List what all sellers got of a hold."""
        return self.capture_legs.get(hold_id, {}).values()

    def leg(self, hold_id: UUID, capture_number: int, seller_id: UUID) -> CaptureLeg | None:
        """Find what a seller got of a capture."""
        return self.capture_legs.get(hold_id, {}).get((capture_number, seller_id))

    def entry(self, sequence: int) -> JournalEntry | None:
        """Find a record that is in the journal, or that an earlier command of this batch wrote."""
        entry = self.entries.get(sequence)
        if entry is None:
            place = sequence - self.written[0].sequence if self.written else -1
            entry = self._entry_of(self.written[place]) if 0 <= place < len(self.written) else None
        return entry

    def _entry_of(self, record: Record) -> JournalEntry:
        codes = {account.account_id: code for code, account in self.accounts.items()}
        return JournalEntry(
            sequence=record.sequence,
            kind=record.kind,
            hold_id=record.hold_id,
            capture_number=record.capture_legs[0].capture_number if record.capture_legs else 0,
            postings=tuple([(codes[posting.account_id], posting.amount_minor) for posting in record.postings]),
        )

    def newest_account_of(self, wallet_id: UUID) -> Account | None:
        """Find the account that carries the wallet's newest event."""
        code = self.wallets[wallet_id]
        return self.accounts[code] if code else None

    def absorb_leg(self, leg: CaptureLeg) -> None:
        """Take a new or changed leg in."""
        self.capture_legs.setdefault(leg.hold_id, {})[leg.capture_number, leg.seller_id] = leg
