"""The journal: one chained record for each accepted change of state, with postings or without.

A record with postings is a journal entry; its postings sum to zero. Nothing here is ever changed or removed.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from services.ledger.domain.account import Account
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold

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


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg of a journal entry: positive amounts credit the account, negative ones debit it."""

    account_id: int
    account_sequence: int
    amount_minor: int
    balance_after_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One step of the book, before it is sealed into the chain: what happened and what it left behind."""

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


@dataclass(frozen=True, slots=True)
class Head:
    """Where a book stands: its row is the lock, the order and the chain."""

    book_id: int
    revision: int
    last_sequence: int
    last_hash: bytes
    last_recorded_at: datetime
    last_account_id: int
    last_event_sequence: int
