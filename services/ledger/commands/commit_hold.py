"""Make a hold permanent: it no longer expires. Committing a committed hold is success."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from services.ledger.commands.guards import account_of, require_active, require_hold, require_not_due, require_owner
from services.ledger.commands.outcome import Draft, Outcome, accepted, already_true
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import BookState
from services.ledger.domain.canonical import Field
from services.ledger.domain.hold import HoldState
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.wallet_event import HoldCommitted


class CommitHold(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module; the wallet must be the hold's."""

    kind: ClassVar[str] = "commit_hold"

    hold_id: UUID
    wallet_id: UUID

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        return (self.hold_id, self.wallet_id)


def decide_commit_hold(state: BookState, command: CommitHold, now: datetime) -> Outcome:
    """Commit the hold.

    Guards in order: exists (hold_not_found), owner (not_hold_owner), already COMMITTED is success, OPEN (hold_closed),
    not due (hold_expired).
    """
    hold = require_hold(state, command.hold_id)
    require_owner(hold, command.wallet_id, command.service)
    if hold.state is HoldState.COMMITTED:
        return already_true(state, now, hold)
    require_active(hold)
    require_not_due(hold, now)

    draft = Draft(state, now, command)
    committed = hold.commit(draft.next_sequence)
    draft.record(RecordKind.COMMIT, hold=committed)
    draft.emit(hold.wallet_id, account_of(state, hold), HoldCommitted(committed))
    return accepted(draft)
