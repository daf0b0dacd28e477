"""The ledger's holds as Protobuf, read into orders' own value: answers of calls and events carry the same message."""

from typing import Final
from uuid import UUID

from services.orders.domain.hold import Hold, HoldState
from services.runtime.errors import InvalidArgumentError
from tradeflow.common.v1.wallet_pb2 import Hold as HoldMessage
from tradeflow.common.v1.wallet_pb2 import HoldState as HoldStateMessage

_STATES: Final = {
    HoldStateMessage.HOLD_STATE_OPEN: HoldState.OPEN,
    HoldStateMessage.HOLD_STATE_COMMITTED: HoldState.COMMITTED,
    HoldStateMessage.HOLD_STATE_CAPTURED: HoldState.CAPTURED,
    HoldStateMessage.HOLD_STATE_VOIDED: HoldState.VOIDED,
    HoldStateMessage.HOLD_STATE_EXPIRED: HoldState.EXPIRED,
    HoldStateMessage.HOLD_STATE_TOMBSTONE: HoldState.TOMBSTONE,
}


def hold_of(message: HoldMessage, *, journal_sequence: int = 0) -> Hold:
    """Read a hold, and with it the record behind the answer or event that told it.

    Raises:
        InvalidArgumentError: `malformed_hold`: an id that is none, or a state that this code doesn't know.
    """
    state = _STATES.get(message.state)
    try:
        hold_id = UUID(message.hold_id)
        wallet_id = UUID(message.wallet_id) if message.wallet_id else None
    except ValueError as error:
        raise _unreadable() from error
    if state is None:
        raise _unreadable()
    return Hold(
        hold_id=hold_id,
        state=state,
        held_minor=message.held_minor,
        captured_minor=message.captured_minor,
        voided_minor=message.voided_minor,
        remaining_minor=message.remaining_minor,
        refunded_minor=message.refunded_minor,
        wallet_id=wallet_id,
        currency=message.currency,
        journal_sequence=journal_sequence,
    )


def _unreadable() -> InvalidArgumentError:
    return InvalidArgumentError("The ledger speaks of a hold that can't be read.", reason="malformed_hold")
