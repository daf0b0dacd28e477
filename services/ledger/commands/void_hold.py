"""Release what remains of a hold, or make sure that a hold that never was will never be."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from services.ledger.commands.guards import account_of, require_owner
from services.ledger.commands.outcome import Draft, Outcome, accepted, already_true
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import BookState
from services.ledger.domain.canonical import Field
from services.ledger.domain.hold import Hold, HoldState, tombstone
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.refusals import HoldCapturedError
from services.ledger.domain.wallet_event import HoldVoided

_RELEASED = frozenset({HoldState.VOIDED, HoldState.EXPIRED, HoldState.TOMBSTONE})


class VoidHold(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module; the wallet must be the hold's."""

    kind: ClassVar[str] = "void_hold"

    hold_id: UUID
    wallet_id: UUID

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        return (self.hold_id, self.wallet_id)


def decide_void_hold(state: BookState, command: VoidHold, now: datetime) -> Outcome:
    """Void the hold.

    Guards in order: absent: leave a tombstone; owner (not_hold_owner), already released is success, CAPTURED
    (hold_captured).
    """
    hold = state.holds.get(command.hold_id)
    if hold is None:
        return _bury(state, command, now)
    require_owner(hold, command.wallet_id, command.service)
    if hold.state in _RELEASED:
        return already_true(state, now, hold)
    if hold.state is HoldState.CAPTURED:
        raise HoldCapturedError("The hold was captured.", details={"captured_minor": str(hold.captured_minor)})
    return _release(state, command, hold, now)


def _bury(state: BookState, command: VoidHold, now: datetime) -> Outcome:
    """Leave a tombstone. No wallet hears of it: nothing of any wallet changed."""
    draft = Draft(state, now, command)
    mark = tombstone(
        hold_id=command.hold_id,
        service=command.service,
        wallet_id=command.wallet_id,
        sequence=draft.next_sequence,
    )
    draft.record(RecordKind.VOID, hold=mark)
    return accepted(draft)


def _release(state: BookState, command: VoidHold, hold: Hold, now: datetime) -> Outcome:
    draft = Draft(state, now, command)
    account = draft.set_aside(account_of(state, hold), -hold.remaining_minor)
    voided = hold.void(draft.next_sequence)
    draft.record(RecordKind.VOID, hold=voided)
    draft.emit(hold.wallet_id, account, HoldVoided(voided))
    return accepted(draft)
