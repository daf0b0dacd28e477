"""Set money aside: it stays posted and is no longer available. With `commit`, the hold never expires."""

from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from services.ledger.commands.guards import require_open_account
from services.ledger.commands.outcome import Draft, Outcome, accepted
from services.ledger.commands.shape import KeyedCommand, require_aware, require_positive
from services.ledger.commands.state import BookState
from services.ledger.domain.canonical import Field
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.refusals import (
    ExpiryInThePastError,
    ExpiryTooFarError,
    HoldExistsError,
    HoldVoidedError,
)
from services.ledger.domain.wallet_event import FundsReserved
from services.money import Money
from services.runtime.errors import InvalidArgumentError

HOLD_DAYS_MAX = 31
"""The longest an open hold may last, in days: what card schemes allow at most, and money must not be stuck for good."""

_HOLD_LENGTH_MAX = timedelta(days=HOLD_DAYS_MAX)


class ReserveFunds(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module. The caller chooses `hold_id`: the order's id. `expires_at` is needed unless `commit`."""

    kind: ClassVar[str] = "reserve_funds"

    hold_id: UUID
    wallet_id: UUID
    amount: Money
    expires_at: datetime | None = None
    commit: bool = False

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        amount = self.amount
        return (self.hold_id, self.wallet_id, amount.amount_minor, amount.currency, self.expires_at, self.commit)

    def check_shape(self) -> None:
        """Guard: an expiry is there when it is needed (expiry_missing)."""
        if self.expires_at is not None:
            require_aware(self.expires_at, "expires_at")
        elif not self.commit:
            raise InvalidArgumentError("A hold that isn't committed needs expires_at.", reason="expiry_missing")


def decide_reserve_funds(state: BookState, command: ReserveFunds, now: datetime) -> Outcome:
    """Hold the money.

    Guards in order: tombstone (hold_voided), a new id (hold_exists), account open (account_not_open), asset (a `Money`
    has a known one), amount (invalid_amount), expiry in the future (expiry_in_the_past, expiry_too_far), available
    (insufficient_funds), overflow of what is held (balance_overflow).
    """
    _require_new_hold(state, command.hold_id)
    account = require_open_account(state, command.wallet_id, command.amount.currency)
    amount_minor = command.amount.amount_minor
    require_positive(amount_minor)
    expires_at = None if command.commit else _require_expiry_ahead(command.expires_at, now)
    account.require_available(amount_minor)
    account.require_room_to_hold(amount_minor)

    draft = Draft(state, now, command)
    draft.set_aside(account, amount_minor)
    hold = Hold(
        hold_id=command.hold_id,
        service=command.service,
        wallet_id=command.wallet_id,
        account_id=account.account_id,
        currency=account.currency,
        state=HoldState.COMMITTED if command.commit else HoldState.OPEN,
        held_minor=amount_minor,
        expires_at=expires_at,
        last_sequence=draft.next_sequence,
    )
    draft.record(RecordKind.RESERVE, hold=hold)
    draft.emit(command.wallet_id, account, FundsReserved(hold))
    return accepted(draft)


def _require_new_hold(state: BookState, hold_id: UUID) -> None:
    hold = state.holds.get(hold_id)
    if hold is None:
        return
    if hold.state is HoldState.TOMBSTONE:
        raise HoldVoidedError("The hold was voided before it came.")
    raise HoldExistsError("A hold of this id was made under another key.", details={"state": hold.state.value})


def _require_expiry_ahead(expires_at: datetime | None, now: datetime) -> datetime:
    if expires_at is None or expires_at <= now:
        raise ExpiryInThePastError("The hold would be due at once.")
    if expires_at - now > _HOLD_LENGTH_MAX:
        raise ExpiryTooFarError(f"A hold lasts at most {HOLD_DAYS_MAX} days.")
    return expires_at
