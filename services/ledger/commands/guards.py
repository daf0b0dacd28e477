"""Guards that several commands on holds share."""

from datetime import datetime
from uuid import UUID

from services.ledger.commands.state import BookState
from services.ledger.domain.account import Account, wallet_account_code
from services.ledger.domain.hold import Hold
from services.ledger.domain.refusals import (
    HoldClosedError,
    HoldExpiredError,
    HoldNotFoundError,
    NotHoldOwnerError,
)


def require_hold(state: BookState, hold_id: UUID) -> Hold:
    """Guard: the hold exists.

    Raises:
        HoldNotFoundError: It doesn't.
    """
    hold = state.holds.get(hold_id)
    if hold is None:
        raise HoldNotFoundError("There is no such hold.")
    return hold


def require_owner(hold: Hold, wallet_id: UUID, service: str) -> None:
    """Guard: the hold is of that wallet, and that service made it.

    Raises:
        NotHoldOwnerError: One of them differs.
    """
    if hold.wallet_id != wallet_id or hold.service != service:
        raise NotHoldOwnerError("The hold belongs to another wallet or service.")


def require_active(hold: Hold) -> None:
    """Guard: the hold is open or committed.

    Raises:
        HoldClosedError: It has ended.
    """
    if not hold.is_active:
        raise HoldClosedError(f"The hold is {hold.state.value}.", details={"state": hold.state.value})


def require_not_due(hold: Hold, now: datetime) -> None:
    """Guard: the hold's time has not passed.

    Raises:
        HoldExpiredError: It has.
    """
    if hold.is_due(now):
        raise HoldExpiredError("The hold's time has passed.")


def account_of(state: BookState, hold: Hold) -> Account:
    """Find the account whose money a hold holds; a hold without one is our own mistake."""
    return state.accounts[wallet_account_code(hold.wallet_id, hold.currency)]
