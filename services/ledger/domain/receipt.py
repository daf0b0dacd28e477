"""The proof that a command took effect."""

from datetime import datetime

from msgspec import Struct

from services.ledger.domain.hold import Hold


class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """What an accepted command gets back.

    `journal_sequence` is 0 when the command was already true, such as opening an open account, and for a dry run, whose
    hold is what it would be. A replay carries the hold as it is now.
    """

    journal_sequence: int
    recorded_at: datetime
    hold: Hold | None = None
    replayed: bool = False
    dry_run: bool = False
