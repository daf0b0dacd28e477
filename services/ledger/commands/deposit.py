"""Bring money in from outside: the funding account pays, the wallet receives. Opens the account if need be."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from services.ledger.commands.outcome import Draft, Outcome, accepted
from services.ledger.commands.shape import KeyedCommand, require_positive
from services.ledger.commands.state import BookState
from services.ledger.domain.account import AccountType
from services.ledger.domain.canonical import Field
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.wallet_event import FundsDeposited
from services.money import Money
from services.runtime.errors import InvalidArgumentError

NOTE_BYTES_MAX = 1024
"""The longest note, in bytes of UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit(KeyedCommand):
    """See the module; `note` is what the treasury wants to remember."""

    kind: ClassVar[str] = "deposit"

    wallet_id: UUID
    amount: Money
    note: str = ""

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        return (self.wallet_id, self.amount.amount_minor, self.amount.currency, self.note)

    def check_shape(self) -> None:
        """Guard: the note is short enough (note_too_long)."""
        if len(self.note.encode()) > NOTE_BYTES_MAX:
            raise InvalidArgumentError(f"A note has at most {NOTE_BYTES_MAX} bytes.", reason="note_too_long")


def decide_deposit(state: BookState, command: Deposit, now: datetime) -> Outcome:
    """Pay the wallet from the funding account.

    Guards in order: amount (invalid_amount), overflow (balance_overflow).
    """
    amount = command.amount
    require_positive(amount.amount_minor)

    draft = Draft(state, now, command.key_hash)
    funding = draft.open_system_account(AccountType.FUNDING, amount.currency)
    account = draft.open_wallet_account(command.wallet_id, amount.currency)
    postings = draft.post([(funding.code, -amount.amount_minor), (account.code, amount.amount_minor)])
    draft.record(RecordKind.DEPOSIT, postings=postings, metadata=command.note.encode())
    draft.emit(command.wallet_id, account, FundsDeposited(amount))
    return accepted(draft)
