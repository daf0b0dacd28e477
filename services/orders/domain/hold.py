"""What orders knows of a hold: the money that the ledger set aside under the order's id."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from uuid import UUID


class HoldState(Enum):
    """The life of a hold, as the ledger tells it."""

    OPEN = "OPEN"
    COMMITTED = "COMMITTED"
    CAPTURED = "CAPTURED"
    VOIDED = "VOIDED"
    EXPIRED = "EXPIRED"
    TOMBSTONE = "TOMBSTONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold and its totals, in minor units; captured + voided + remaining = held.

    A tombstone has neither wallet nor currency. `journal_sequence` is the record behind the answer or event that told
    the hold, 0 where none was named. `refunded_by` is what each seller gave back; None where nobody told it.
    """

    hold_id: UUID
    state: HoldState
    held_minor: int
    captured_minor: int
    voided_minor: int
    remaining_minor: int
    refunded_minor: int
    wallet_id: UUID | None = None
    currency: str = ""
    journal_sequence: int = 0
    refunded_by: Mapping[UUID, int] | None = None

    @property
    def holds_money(self) -> bool:
        """Whether a capture can still take something."""
        return self.state in {HoldState.OPEN, HoldState.COMMITTED}

    @property
    def is_settled(self) -> bool:
        """Whether sellers were paid from it and nothing more will be taken."""
        return self.captured_minor > 0 and self.remaining_minor == 0
