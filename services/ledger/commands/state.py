"""What a batch's commands see of the book, and what they leave behind.

The committer reads the state under the book's lock; `decide` works on it command by command. It is one batch's alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.ledger.domain.account import Account
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.keys import RecordedKey

KeyScope = tuple[str, str]
"""A service and its key."""

LegKey = tuple[int, UUID]
"""A capture's number and a seller, within one hold."""


@dataclass(slots=True, kw_only=True)
class BookState:
    """The part of a book that a batch names. Whatever is missing here does not exist in the book.

    `wallets` holds the newest event sequence of each wallet that the batch may tell something, 0 for new ones: to guess
    one would give two events the same number. The counters are the head row's.
    """

    last_sequence: int
    last_recorded_at: datetime
    last_account_id: int
    accounts: dict[str, Account] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    capture_legs: dict[UUID, dict[LegKey, CaptureLeg]] = field(default_factory=dict)
    keys: dict[KeyScope, RecordedKey] = field(default_factory=dict)
    wallets: dict[UUID, int] = field(default_factory=dict)

    def legs_of(self, hold_id: UUID) -> Iterable[CaptureLeg]:
        """List what all sellers got of a hold."""
        return self.capture_legs.get(hold_id, {}).values()

    def leg(self, hold_id: UUID, capture_number: int, seller_id: UUID) -> CaptureLeg | None:
        """Find what a seller got of a capture."""
        return self.capture_legs.get(hold_id, {}).get((capture_number, seller_id))

    def number_event(self, wallet_id: UUID) -> int:
        """Give the wallet's next event its number."""
        sequence = self.wallets[wallet_id] + 1
        self.wallets[wallet_id] = sequence
        return sequence

    def absorb_leg(self, leg: CaptureLeg) -> None:
        """Take a new or changed leg in."""
        self.capture_legs.setdefault(leg.hold_id, {})[leg.capture_number, leg.seller_id] = leg
