"""What one command changes: a draft that the command's function fills, and the outcome that it returns.

A draft never touches the state: it is thrown away when a guard refuses half way, and absorbed when the command is
accepted.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import MICROSECOND, BookState
from services.ledger.domain.account import (
    Account,
    AccountType,
    receivable_account_code,
    system_account_code,
    unopened_wallet_account,
    wallet_account_code,
)
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import Posting, Record, RecordKind
from services.ledger.domain.keys import NO_KEY_HASH
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.wallet_event import AccountOpened, Fact
from services.money import AMOUNT_MINOR_MAX
from services.runtime.errors import RefusedError, RejectedError


class DraftEvent(Struct, frozen=True, gc=False):
    """A fact that waits for its number."""

    wallet_id: UUID
    recorded_at: datetime
    journal_sequence: int
    account: Account
    fact: Fact


class Draft:
    """One command's changes, as new values beside the state."""

    __slots__ = (
        "_key_hash",
        "_metadata",
        "_state",
        "accounts",
        "effective_at",
        "events",
        "hold",
        "legs",
        "now",
        "opened",
        "records",
        "sequence",
    )

    def __init__(
        self, state: BookState, now: datetime, command: KeyedCommand | None, *, effective_at: datetime | None = None
    ) -> None:
        """Begin with no change.

        Args:
            state: The book as it is.
            now: What the clock says; the first record comes then, or after the journal's last.
            command: Whose changes these are; None for what the ledger does by itself.
            effective_at: When the command's own record counts, where that isn't when it is recorded.
        """
        self._state = state
        self._key_hash = NO_KEY_HASH if command is None else command.key_hash
        self._metadata = b"" if command is None else command.record_metadata
        self.effective_at = effective_at
        self.now = state.next_instant(now)
        self.sequence = state.last_sequence
        self.accounts: dict[str, Account] = {}
        self.opened: list[Account] = []
        self.hold: Hold | None = None
        self.legs: list[CaptureLeg] = []
        self.records: list[Record] = []
        self.events: list[DraftEvent] = []

    @property
    def next_sequence(self) -> int:
        """Tell the sequence of the record that comes next, for values that name it."""
        return self.sequence + 1

    def account(self, code: str) -> Account | None:
        """Find an account as it is now, with this draft's changes."""
        return self.accounts.get(code) or self._state.accounts.get(code)

    def open_wallet_account(self, wallet_id: UUID, currency: str) -> Account:
        """Find a wallet's account, or open it with a record and an event of its own."""
        code = wallet_account_code(wallet_id, currency)
        account = self.account(code)
        if account is None:
            account = self._open(code, AccountType.WALLET, wallet_id, currency, overdraft_limit=0)
            self.emit(wallet_id, account, AccountOpened())
        return account

    def open_system_account(self, account_type: AccountType, currency: str) -> Account:
        """Find one of the platform's own accounts, or open it; it may go as far below zero as amounts go."""
        code = system_account_code(account_type, currency)
        return self.account(code) or self._open(code, account_type, None, currency, overdraft_limit=AMOUNT_MINOR_MAX)

    def open_receivable_account(self, seller_id: UUID, currency: str) -> Account:
        """Find the account of what a seller owes the platform, or open it; debts are bounded by what amounts are."""
        code = receivable_account_code(seller_id, currency)
        return self.account(code) or self._open(
            code, AccountType.RECEIVABLE, None, currency, overdraft_limit=AMOUNT_MINOR_MAX
        )

    def post(self, postings: Iterable[tuple[str, int]]) -> tuple[Posting, ...]:
        """Move money: positive amounts credit, negative ones debit; amounts of zero are left out.

        Raises:
            BalanceOverflowError: A balance would pass its limit.
        """
        accounts, known, posted = self.accounts, self._state.accounts, []
        for code, amount in postings:
            if amount == 0:
                continue
            before = accounts.get(code) or known[code]
            after = accounts[code] = before.credit(amount) if amount > 0 else before.debit(-amount)
            posted.append(
                Posting(after.account_id, after.account_sequence, amount, after.credits_posted - after.debits_posted)
            )
        return tuple(posted)

    def set_aside(self, account: Account, amount_minor: int) -> Account:
        """Promise a part of an account's balance, or release it again with a negative amount."""
        changed = (self.account(account.code) or account).set_aside(amount_minor)
        self.accounts[account.code] = changed
        return changed

    def set_limit(self, account: Account, overdraft_limit_minor: int) -> Account:
        """Let an account go so far below zero, by the record that comes next."""
        changed = (self.account(account.code) or account).limit(overdraft_limit_minor, self.next_sequence)
        self.accounts[account.code] = changed
        return changed

    def record(
        self,
        kind: RecordKind,
        *,
        hold: Hold | None = None,
        legs: tuple[CaptureLeg, ...] = (),
        postings: tuple[Posting, ...] = (),
        account: Account | None = None,
        reverses: int = 0,
    ) -> None:
        """Write the next record of the journal: what happened and what it left behind."""
        self.sequence += 1
        if self.records:
            self.now += MICROSECOND
        if hold is not None:
            self.hold = hold
        self.legs.extend(legs)
        self.records.append(
            Record(
                sequence=self.sequence,
                kind=kind,
                recorded_at=self.now,
                effective_at=self.now,
                key_hash=self._key_hash,
                hold_id=hold.hold_id if hold is not None else None,
                postings=postings,
                account=account,
                hold=hold,
                capture_legs=legs,
                reverses=reverses,
            )
        )

    def sign(self) -> None:
        """Give the newest record, the command's own, its metadata and its effective date."""
        if self._metadata or self.effective_at is not None:
            record = self.records[-1]
            effective_at = self.effective_at or record.effective_at
            self.records[-1] = replace(record, metadata=self._metadata, effective_at=effective_at)

    def emit(self, wallet_id: UUID, account: Account, fact: Fact) -> None:
        """Tell a wallet what happened; `account` is as the newest record left it."""
        journal_sequence = self.sequence if self.records else 0
        self.events.append(
            DraftEvent(wallet_id, self.now, journal_sequence, self.accounts.get(account.code) or account, fact)
        )

    def emit_refusal(self, wallet_id: UUID, currency: str, fact: Fact) -> None:
        """Tell a wallet what was refused: no record stands behind it, and the account may not exist."""
        account = self.account(wallet_account_code(wallet_id, currency)) or unopened_wallet_account(wallet_id, currency)
        self.events.append(DraftEvent(wallet_id, self.now, 0, account, fact))

    def _open(
        self, code: str, account_type: AccountType, wallet_id: UUID | None, currency: str, *, overdraft_limit: int
    ) -> Account:
        account = Account(
            account_id=self._state.last_account_id + len(self.opened) + 1,
            code=code,
            account_type=account_type,
            wallet_id=wallet_id,
            currency=currency,
            opened_sequence=self.next_sequence,
            overdraft_limit=overdraft_limit,
            limit_sequence=self.next_sequence,
        )
        self.opened.append(account)
        self.accounts[code] = account
        self.record(RecordKind.ACCOUNT_OPENED, account=account)
        return account


class Outcome(Struct, frozen=True):
    """What became of one command: a receipt or a refusal, and what it changed.

    `remembered` tells whether the key keeps the answer. A refusal may change something too: an overdue hold expires
    under the capture that came too late.
    """

    receipt: Receipt | None
    refusal: RejectedError | None
    draft: Draft | None
    remembered: bool


def accepted(draft: Draft) -> Outcome:
    """Say yes: the draft's newest record is the proof."""
    draft.sign()
    receipt = Receipt(journal_sequence=draft.sequence, recorded_at=draft.now, hold=draft.hold)
    return Outcome(receipt, None, draft, remembered=True)


def already_true(state: BookState, now: datetime, hold: Hold | None = None) -> Outcome:
    """Say yes to what needs no change."""
    receipt = Receipt(journal_sequence=0, recorded_at=state.next_instant(now), hold=hold)
    return Outcome(receipt, None, None, remembered=True)


def refused(refusal: RejectedError, draft: Draft | None = None, *, final: bool = False) -> Outcome:
    """Say no. Refusals that depend on state are remembered, and those that were told to the world (`final`)."""
    return Outcome(None, refusal, draft, remembered=final or isinstance(refusal, RefusedError))
