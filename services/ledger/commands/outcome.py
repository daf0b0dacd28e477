"""What one command changes: a draft that the command's function fills, and the outcome that it returns.

A draft never touches the state: it is thrown away when a guard refuses half way, and absorbed when the command is
accepted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.ledger.commands.state import BookState
from services.ledger.domain.account import (
    Account,
    AccountType,
    system_account_code,
    unopened_wallet_account,
    wallet_account_code,
)
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import Posting, Record, RecordKind
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.wallet_event import AccountOpened, Fact
from services.money import AMOUNT_MINOR_MAX
from services.runtime.errors import RefusedError, RejectedError

MICROSECOND = timedelta(microseconds=1)
"""The step of the ledger's time: two records never share an instant."""


@dataclass(frozen=True, slots=True)
class DraftEvent:
    """A fact that waits for its number."""

    wallet_id: UUID
    recorded_at: datetime
    journal_sequence: int
    account: Account
    fact: Fact


class Draft:
    """One command's changes, as new values beside the state."""

    __slots__ = ("_key_hash", "_state", "accounts", "events", "hold", "legs", "now", "opened", "records", "sequence")

    def __init__(self, state: BookState, now: datetime, key_hash: bytes) -> None:
        """Begin with no change; `now` is the instant of the first record."""
        self._state = state
        self._key_hash = key_hash
        self.now = now
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

    def post(self, postings: Iterable[tuple[str, int]]) -> tuple[Posting, ...]:
        """Move money: positive amounts credit, negative ones debit; amounts of zero are left out.

        Raises:
            BalanceOverflowError: A balance would pass its limit.
        """
        posted = []
        for code, amount in postings:
            if amount == 0:
                continue
            before = self.account(code)
            if before is None:  # pragma: no cover - commands open their accounts first
                raise LookupError(code)
            after = before.credit(amount) if amount > 0 else before.debit(-amount)
            self.accounts[code] = after
            posted.append(Posting(after.account_id, after.account_sequence, amount, after.balance_minor))
        return tuple(posted)

    def set_aside(self, account: Account, amount_minor: int) -> Account:
        """Promise a part of an account's balance, or release it again with a negative amount."""
        changed = (self.account(account.code) or account).set_aside(amount_minor)
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
        metadata: bytes = b"",
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
                metadata=metadata,
            )
        )

    def emit(self, wallet_id: UUID, account: Account, fact: Fact) -> None:
        """Tell a wallet what happened; `account` is as the newest record left it."""
        journal_sequence = self.sequence if self.records else 0
        self.events.append(
            DraftEvent(wallet_id, self.now, journal_sequence, self.account(account.code) or account, fact)
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
        )
        self.opened.append(account)
        self.accounts[code] = account
        self.record(RecordKind.ACCOUNT_OPENED, account=account)
        return account


@dataclass(frozen=True, slots=True)
class Outcome:
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
    receipt = Receipt(journal_sequence=draft.sequence, recorded_at=draft.now, hold=draft.hold)
    return Outcome(receipt, None, draft, remembered=True)


def already_true(now: datetime, hold: Hold | None = None) -> Outcome:
    """Say yes to what needs no change."""
    return Outcome(Receipt(journal_sequence=0, recorded_at=now, hold=hold), None, None, remembered=True)


def refused(refusal: RejectedError, draft: Draft | None = None, *, final: bool = False) -> Outcome:
    """Say no. Refusals that depend on state are remembered, and those that were told to the world (`final`)."""
    return Outcome(None, refusal, draft, remembered=final or isinstance(refusal, RefusedError))
