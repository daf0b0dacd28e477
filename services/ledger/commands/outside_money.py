"""What deposits and withdrawals ask alike: money that crosses the platform's edge, one way or the other."""

from datetime import datetime
from uuid import UUID

from services.ledger.commands.shape import KeyedCommand, require_effective_date, require_note
from services.ledger.domain.canonical import Field
from services.money import Money


class OutsideMoney(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """`note` is what the treasury wants to remember, `effective_at` when the bank moved the money."""

    wallet_id: UUID
    amount: Money
    note: str = ""
    effective_at: datetime | None = None

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        return (self.wallet_id, self.amount.amount_minor, self.amount.currency, self.note, self.effective_at)

    def noted(self) -> str:
        """Tell the note."""
        return self.note

    def check_shape(self) -> None:
        """Guard: the note (note_too_long) and the effective date (instant_malformed)."""
        require_note(self.note)
        require_effective_date(self.effective_at)
