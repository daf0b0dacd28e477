"""The proof that a command took effect."""

from dataclasses import dataclass
from datetime import datetime

from services.ledger.domain.hold import Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an accepted command gets back.

    `journal_sequence` is 0 when the command was already true, such as opening an open account. A replay carries the
    hold as it is now.
    """

    journal_sequence: int
    recorded_at: datetime
    hold: Hold | None = None
    replayed: bool = False
