"""Guards that several commands on holds share."""

from datetime import datetime
from uuid import UUID

from services.ledger.commands.state import BookState
from services.ledger.domain.account import Account, AccountType, wallet_account_code
from services.ledger.domain.hold import Hold
from services.ledger.domain.refusals import (
    AccountNotOpenError,
    EffectiveInTheFutureError,
    ExceedsReceivableError,
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


def require_open_account(state: BookState, wallet_id: UUID, currency: str) -> Account:
    """Guard: the wallet has an account in that asset.

    Raises:
        AccountNotOpenError: It hasn't.
    """
    account = state.accounts.get(wallet_account_code(wallet_id, currency))
    if account is None:
        raise AccountNotOpenError(f"The wallet has no account in {currency}.")
    return account


def require_effective_by(effective_at: datetime | None, now: datetime) -> None:
    """Guard: an effective date, if there is one, does not lie ahead.

    Raises:
        EffectiveInTheFutureError: It does.
    """
    if effective_at is not None and effective_at > now:
        raise EffectiveInTheFutureError("effective_at lies ahead.")


def require_covered(account: Account, amount_minor: int) -> None:
    """Guard: what a posting takes from an account's normal side is there. A posting that adds to it always passes.

    Raises:
        ExceedsReceivableError: A seller's debt would be paid off by more than it is.
        InsufficientFundsError: Less is available.
    """
    taken_minor = amount_minor if account.account_type.grows_by_debits else -amount_minor
    if taken_minor <= 0:
        return
    if account.account_type is not AccountType.RECEIVABLE:
        account.require_available(taken_minor)
    elif taken_minor > account.posted_minor:
        raise ExceedsReceivableError(
            f"{taken_minor} minor units were paid and {account.posted_minor} are owed.",
            details={"owed_minor": str(account.posted_minor)},
        )


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
