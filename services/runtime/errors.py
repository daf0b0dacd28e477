"""The one tree of errors that every service speaks.

    TradeFlowError
    ├── RejectedError            the caller is wrong; the same call again gets the same answer
    │   ├── InvalidArgumentError     it can never be right: shape, range, format
    │   ├── UnauthenticatedError     no valid token
    │   ├── ForbiddenError           a valid token that may not do this
    │   ├── NotFoundError
    │   ├── ConflictError            another call is in the way
    │   │   └── KeyReusedError       the same idempotency key with other content
    │   ├── RefusedError             well-formed and allowed, and the state says no (no funds, hold closed)
    │   ├── TooLargeError            the request's body is over the limit
    │   └── RateLimitedError         too many calls; `retry_after_seconds`
    └── UnavailableError         try again; `retry_after_seconds`

Anything else that is raised is a bug. A class knows no transport: `grpc_errors` and `http_errors` turn it into a gRPC
status and an RFC 9457 problem, and the gRPC client rebuilds the same class from the status.

`reason` is a stable snake_case word; programs branch on it. Domains add subclasses with a reason of their own, or
pass `reason=` where one class serves several.
"""

from collections.abc import Mapping
from typing import ClassVar


class TradeFlowError(Exception):
    """Something that a caller can act on."""

    default_reason: ClassVar[str] = "error"

    def __init__(self, message: str, *, reason: str | None = None, details: Mapping[str, str] | None = None) -> None:
        """Say what happened and what to do about it.

        Args:
            message: A sentence for people, without secrets.
            reason: A stable snake_case word; the class's own by default.
            details: Facts for programs; they travel to the caller.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.details = dict(details or {})


class RejectedError(TradeFlowError):
    """The caller is wrong."""

    default_reason = "rejected"

    replayed = False
    """Whether this was the answer to an earlier call with the same idempotency key, whatever holds by now."""


class InvalidArgumentError(RejectedError):
    """It can never be right."""

    default_reason = "invalid_argument"


class UnauthenticatedError(RejectedError):
    """No valid token."""

    default_reason = "unauthenticated"


class ForbiddenError(RejectedError):
    """A valid token that may not do this."""

    default_reason = "forbidden"


class NotFoundError(RejectedError):
    """It does not exist, or not for this caller."""

    default_reason = "not_found"


class ConflictError(RejectedError):
    """Another call is in the way."""

    default_reason = "conflict"


class KeyReusedError(ConflictError):
    """The same idempotency key came with other content."""

    default_reason = "idempotency_key_reused"


class RefusedError(RejectedError):
    """Well-formed and allowed, and the state says no."""

    default_reason = "refused"


class TooLargeError(RejectedError):
    """The request's body is over the limit."""

    default_reason = "body_too_large"


class RateLimitedError(RejectedError):
    """Too many calls."""

    default_reason = "rate_limited"

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float,
        reason: str | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Say when to come back, in seconds from now."""
        super().__init__(message, reason=reason, details=details)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(TradeFlowError):
    """Try again: nothing is known to be wrong with the call."""

    default_reason = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float = 1.0,
        reason: str | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Say when to come back, in seconds from now."""
        super().__init__(message, reason=reason, details=details)
        self.retry_after_seconds = retry_after_seconds
