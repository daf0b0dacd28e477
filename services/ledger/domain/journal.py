"""The journal: one chained record for each accepted change of state, with postings or without.

A record with postings is a journal entry; its postings sum to zero. Nothing here is ever changed or removed.
"""

from datetime import datetime
from enum import Enum
from uuid import UUID

from msgspec import Struct

from services.ledger.domain.account import Account
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.keys import RecordedKey

GENESIS_HASH = bytes(32)
"""What the first record of a book, and the first posting of an account, are chained to."""


class RecordKind(Enum):
    """What a record says happened."""

    ACCOUNT_OPENED = "account_opened"
    """An account came to be."""
    DEPOSIT = "deposit"
    """Money came in."""
    RESERVE = "reserve"
    """Money was set aside; a hold came to be."""
    COMMIT = "commit"
    """A hold became permanent."""
    CAPTURE = "capture"
    """A hold paid sellers."""
    VOID = "void"
    """A hold was released, or will never be."""
    EXPIRE = "expire"
    """A hold ran out."""
    REFUND = "refund"
    """Sellers gave money back."""
    WITHDRAW = "withdraw"
    """Money went out."""
    TRANSFER = "transfer"
    """Money moved between accounts."""
    LIMIT_SET = "limit_set"
    """An account may go further below zero, or less far."""
    REVERSE = "reverse"
    """An earlier record was undone."""


class Posting(Struct, frozen=True, gc=False):
    """One leg of a journal entry: positive amounts credit the account, negative ones debit it."""

    account_id: int
    account_sequence: int
    amount_minor: int
    balance_after_minor: int


class Record(Struct, frozen=True, kw_only=True, gc=False):
    """One step of the book, before it is sealed into the chain: what happened and what it left behind.

    `key` is the key whose answer this record is: that of a command's last record. `reverses` is the sequence of the
    record that this one takes back, or 0.
    """

    sequence: int
    kind: RecordKind
    recorded_at: datetime
    effective_at: datetime
    key_hash: bytes
    hold_id: UUID | None = None
    postings: tuple[Posting, ...] = ()
    account: Account | None = None
    hold: Hold | None = None
    capture_legs: tuple[CaptureLeg, ...] = ()
    metadata: bytes = b""
    key: RecordedKey | None = None
    reverses: int = 0


class JournalEntry(Struct, frozen=True, kw_only=True, gc=False):
    """A record that is in the journal, as far as taking it back needs it.

    `postings` are account codes and amounts. `capture_number` is 0 but for captures, `reversed_by` is 0 until a record
    took it back.
    """

    sequence: int
    kind: RecordKind
    hold_id: UUID | None
    capture_number: int
    postings: tuple[tuple[str, int], ...]
    reversed_by: int = 0


class Head(Struct, frozen=True, gc=False):
    """Where a book stands: its row is the lock, the order and the chain."""

    book_id: int
    revision: int
    last_sequence: int
    last_hash: bytes
    last_recorded_at: datetime
    last_account_id: int
    last_event_sequence: int
