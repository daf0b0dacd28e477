"""Release a hold whose time has passed. The ledger tells itself so; no caller can."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from services.ledger.commands.guards import account_of, require_hold
from services.ledger.commands.outcome import Draft, Outcome, accepted, already_true
from services.ledger.commands.state import BookState
from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.refusals import HoldNotDueError
from services.ledger.domain.wallet_event import HoldExpired


class ExpireHold(Struct, frozen=True, kw_only=True, gc=False):
    """See the module. It has no key: the hold's state makes it take effect once."""

    hold_id: UUID
    traceparent: str = ""


def decide_expire_hold(state: BookState, command: ExpireHold, now: datetime) -> Outcome:
    """Expire the hold.

    Guards in order: exists (hold_not_found), anything but OPEN is success, due (hold_not_due).
    """
    hold = require_hold(state, command.hold_id)
    if hold.state is not HoldState.OPEN:
        return already_true(state, now, hold)
    if not hold.is_due(now):
        raise HoldNotDueError("The hold's time has not come.")
    draft = Draft(state, now, None)
    expire(draft, hold, account_of(state, hold))
    return accepted(draft)


def expire(draft: Draft, hold: Hold, account: Account) -> None:
    """Record that a hold ran out: also when a capture finds it so."""
    account = draft.set_aside(account, -hold.remaining_minor)
    expired = hold.expire(draft.next_sequence)
    draft.record(RecordKind.EXPIRE, hold=expired)
    draft.emit(hold.wallet_id, account, HoldExpired(expired))
