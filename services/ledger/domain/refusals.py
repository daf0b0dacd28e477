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


class EffectiveInTheFutureError(InvalidArgumentError):
    """The effective date lies ahead: money that is not there yet can't be spent."""

    default_reason = "effective_in_the_future"


class RecordNotFoundError(NotFoundError):
    """The journal has no record of that sequence."""

    default_reason = "record_not_found"


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


class KeyExpiredError(ConflictError):
    """The key was used so long ago that its answer isn't kept."""

    default_reason = "key_expired"


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


class CaptureReversedError(RefusedError):
    """The capture was reversed: nothing of it can be refunded any more."""

    default_reason = "capture_reversed"


class LimitInUseError(RefusedError):
    """The account is further below zero than the limit allows; `overdraft_limit_minor_min` in the details."""

    default_reason = "limit_in_use"


class ExceedsReceivableError(RefusedError):
    """More than what the seller owes."""

    default_reason = "exceeds_receivable"


class NotReversibleError(RefusedError):
    """Records of that kind are not reversed; `kind` in the details."""

    default_reason = "not_reversible"


class AlreadyReversedError(RefusedError):
    """The record was undone before, or nothing is left to undo."""

    default_reason = "already_reversed"


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
        CaptureReversedError,
        LimitInUseError,
        ExceedsReceivableError,
        NotReversibleError,
        AlreadyReversedError,
        # And what stands in for an answer that was pruned.
        KeyExpiredError,
    )
}


def rebuild_refusal(reason: str, message: str, details: Mapping[str, str]) -> RejectedError:
    """Make the error that was remembered: the same class, reason, message and details."""
    refusal = _REMEMBERED.get(reason, RefusedError)(message, reason=reason, details=details)
    refusal.replayed = True
    return refusal
