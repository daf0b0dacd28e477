"""Why the ledger refuses: one named error for each reason.

What is a `RefusedError` depends on the state of the book and is remembered under the command's key, so that the same
call gets the same answer; the others (malformed, not found, not yours, in conflict) change nothing and are judged anew.
A reason is stable: programs branch on it, and remembered refusals are rebuilt from it.
"""

from collections.abc import Mapping

from services.money import CurrencyMismatchError
from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentError,
    NotFoundError,
    RefusedError,
    RejectedError,
)


class InvalidAmountError(InvalidArgumentError):
    """The amount is not positive."""

    default_reason = "invalid_amount"


class ExpiryTooFarError(InvalidArgumentError):
    """A hold would stay open longer than holds may."""

    default_reason = "expiry_too_far"


class AllocationsMismatchError(InvalidArgumentError):
    """The sellers' parts don't sum to the capture's amount."""

    default_reason = "allocations_mismatch"


class HoldNotFoundError(NotFoundError):
    """No such hold, so far: only a void makes that final."""

    default_reason = "hold_not_found"


class CaptureNotFoundError(NotFoundError):
    """The hold has no capture of that number."""

    default_reason = "capture_not_found"


class NotHoldOwnerError(ForbiddenError):
    """The hold is of another wallet, or was made by another service."""

    default_reason = "not_hold_owner"


class HoldExistsError(ConflictError):
    """The hold's id was used before, under another key."""

    default_reason = "hold_exists"


class CaptureExistsError(ConflictError):
    """The capture's number was used before, under another key."""

    default_reason = "capture_exists"


class HoldNotDueError(ConflictError):
    """The hold is open and its time has not come."""

    default_reason = "hold_not_due"


class AccountNotOpenError(RefusedError):
    """The wallet has no account in that asset."""

    default_reason = "account_not_open"


class InsufficientFundsError(RefusedError):
    """Less is available than the command needs; `available_minor` and `needed_minor` in the details."""

    default_reason = "insufficient_funds"


class ExpiryInThePastError(RefusedError):
    """The hold would be due at once."""

    default_reason = "expiry_in_the_past"


class BalanceOverflowError(RefusedError):
    """A balance would pass 2^53 - 1."""

    default_reason = "balance_overflow"


class HoldVoidedError(RefusedError):
    """The hold was voided before it came."""

    default_reason = "hold_voided"


class HoldClosedError(RefusedError):
    """The hold has ended, one way or another."""

    default_reason = "hold_closed"


class HoldExpiredError(RefusedError):
    """The hold's time has passed."""

    default_reason = "hold_expired"


class HoldCapturedError(RefusedError):
    """Nothing is left to release: captures took it."""

    default_reason = "hold_captured"


class HoldCurrencyMismatchError(RefusedError):
    """The command speaks of another asset than the hold."""

    default_reason = CurrencyMismatchError.default_reason


class ExceedsHoldError(RefusedError):
    """More than what remains of the hold."""

    default_reason = "exceeds_hold"


class ExceedsCaptureError(RefusedError):
    """More than what was captured for that seller and not yet given back."""

    default_reason = "exceeds_capture"


_REMEMBERED: dict[str, type[RejectedError]] = {
    error.default_reason: error
    for error in (
        # Of these only those that a capture reported as SettlementRefused, which makes them final.
        InvalidAmountError,
        AllocationsMismatchError,
        HoldNotFoundError,
        NotHoldOwnerError,
        CaptureExistsError,
        # And all that depend on state.
        AccountNotOpenError,
        InsufficientFundsError,
        ExpiryInThePastError,
        BalanceOverflowError,
        HoldVoidedError,
        HoldClosedError,
        HoldExpiredError,
        HoldCapturedError,
        HoldCurrencyMismatchError,
        ExceedsHoldError,
        ExceedsCaptureError,
    )
}


def rebuild_refusal(reason: str, message: str, details: Mapping[str, str]) -> RejectedError:
    """Make the error that was remembered: the same class, reason, message and details."""
    return _REMEMBERED.get(reason, RefusedError)(message, reason=reason, details=details)
