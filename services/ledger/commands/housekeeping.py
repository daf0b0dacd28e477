"""What the ledger tells itself to forget. No record is written: nothing of the book changes.

Housekeeping goes through the committer like all that writes the ledger. Its loops (services/ledger/housekeeping) find
rows without a lock; a hold is looked at again under it, and an answer without a record never changes but by these.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from services.ledger.commands.state import BookState
from services.ledger.domain.hold import HoldState
from services.ledger.domain.keys import RecordedKey
from services.ledger.domain.refusals import KeyExpiredError

PRUNED_MESSAGE = "The answer under this key is no longer kept; use a new key."
"""What a pruned key answers."""


class PruneAnswers(Struct, frozen=True, kw_only=True, gc=False):
    """Forget these answers, which wrote no record, where they were given before an instant.

    Accepted keys live with their effect and are never pruned. A pruned key stays and answers `key_expired`.
    """

    answers: tuple[RecordedKey, ...]
    before: datetime
    traceparent: str = ""


class ForgetKeys(Struct, frozen=True, kw_only=True, gc=False):
    """Forget these keys altogether, whose answers wrote no record, where they were given before an instant.

    A command under such a key is a new one.
    """

    answers: tuple[RecordedKey, ...]
    before: datetime
    traceparent: str = ""


class ForgetExpiries(Struct, frozen=True, kw_only=True, gc=False):
    """Remove rows of the queue of expiries, each an instant and a hold, whose hold no longer expires then."""

    expiries: tuple[tuple[datetime, UUID], ...]
    traceparent: str = ""


Housekeeping = PruneAnswers | ForgetKeys | ForgetExpiries
"""Commands that only forget: they have no key and no events, and change nothing that a caller may rely on."""


def answers_to_prune(command: PruneAnswers) -> list[RecordedKey]:
    """List the keys that lose their answer, as they are from now on: without a record, old, not pruned yet."""
    return [
        replace(key, reason=KeyExpiredError.default_reason, message=PRUNED_MESSAGE, details={}, hold_id=None)
        for key in _old(command)
        if key.reason != KeyExpiredError.default_reason
    ]


def keys_to_forget(command: ForgetKeys) -> list[RecordedKey]:
    """List the keys that go: without a record, and old."""
    return _old(command)


def _old(command: PruneAnswers | ForgetKeys) -> list[RecordedKey]:
    return [key for key in command.answers if key.sequence == 0 and key.recorded_at < command.before]


def expiries_to_forget(state: BookState, command: ForgetExpiries) -> list[tuple[datetime, UUID]]:
    """List the rows whose hold no longer expires then: one that still does would never be found again."""
    kept = {
        (hold.expires_at, hold.hold_id)
        for _, hold_id in command.expiries
        if (hold := state.holds.get(hold_id)) is not None and hold.state is HoldState.OPEN
    }
    return [row for row in command.expiries if row not in kept]
