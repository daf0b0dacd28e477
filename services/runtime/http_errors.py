"""Everything that can go wrong with a request, as RFC 9457 problems; and problems back into errors, for clients.

A problem's `reason` is the stable word that programs branch on; its `type` is the same word as a URN.

Source: RFC 9457.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsException, ProblemDetailsPlugin

from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentError,
    KeyReusedError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    RejectedError,
    TooLargeError,
    TradeFlowError,
    UnauthenticatedError,
    UnavailableError,
)
from services.runtime.idempotency import REPLAYED_HEADER
from services.runtime.tracing import current_trace

logger = structlog.get_logger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
"""The content type of a problem."""

TYPE_PREFIX = "urn:tradeflow:problem:"
"""Before the reason, it makes the problem's `type`: an identifier, not an address."""

DETAIL_CHARACTERS_MAX = 1024
"""A bound on what a framework's message, which may quote the request, adds to an answer."""

_STATUS_OF_CLASS: tuple[tuple[type[TradeFlowError], int], ...] = (
    (InvalidArgumentError, 400),
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (KeyReusedError, 422),
    (ConflictError, 409),
    (RefusedError, 422),
    (TooLargeError, 413),
    (RateLimitedError, 429),
    (RejectedError, 400),
    (UnavailableError, 503),
    (TradeFlowError, 500),
)
"""Subclasses stand before their bases."""

MISSING_BODY_MESSAGE = "'data'"
"""What Litestar says of an absent body: the name of the handler's parameter."""

_REASON_OF_STATUS = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "route_not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    503: "unavailable",
}
"""What the framework's own refusals are called."""

INTERNAL_REASON = "internal_error"
"""The reason of a bug: the caller gets no more than this, and the trace id to quote."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem as it is written to the wire; also what the API's description shows."""

    type: str
    """A URN with the reason."""
    title: str
    """The reason in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened and what to do about it, for people."""
    reason: str
    """A stable snake_case word, for programs."""
    details: dict[str, str] = {}
    """Facts, for programs."""


class UnsupportedMediaTypeError(InvalidArgumentError):
    """The body has another form than the route reads; HTTP alone knows this error."""

    default_reason = "unsupported_media_type"


def problem_details_plugin() -> ProblemDetailsPlugin:
    """Make the plugin that answers every failure with a problem."""
    return ProblemDetailsPlugin(
        ProblemDetailsConfig(
            exception_to_problem_detail_map={
                TradeFlowError: problem_of_error,
                HTTPException: problem_of_http_exception,
                Exception: problem_of_bug,
            }
        )
    )


def problem_of_error(error: TradeFlowError) -> ProblemDetailsException:
    """Turn one of our errors into a problem."""
    status = 415 if isinstance(error, UnsupportedMediaTypeError) else status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem_of_bug(error)
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = _challenge(error)
    if isinstance(error, RateLimitedError | UnavailableError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if isinstance(error, RejectedError) and error.replayed:
        headers[REPLAYED_HEADER] = "true"
    return _problem(status, error.reason, error.message, details=error.details, headers=headers)


def problem_of_http_exception(error: HTTPException) -> ProblemDetailsException:
    """Turn one of Litestar's refusals into a problem."""
    status = error.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.SERVICE_UNAVAILABLE:
        return problem_of_bug(error)
    headers = dict(error.headers or {})
    if isinstance(error, ValidationException):
        return _problem(400, "validation_failed", *_first_fault(error), headers=headers)
    if isinstance(error.__cause__, SerializationException):
        return _problem(400, "malformed_json", error.detail, headers=headers)
    if isinstance(error, MethodNotAllowedException):
        allowed = headers.pop("allow", "")
        headers["Allow"] = allowed
        return _problem(405, "method_not_allowed", f"This route answers to {allowed}.", headers=headers)
    if isinstance(error, NotFoundException):
        return _problem(404, "route_not_found", "There is nothing at this path.", headers=headers)
    reason = _REASON_OF_STATUS.get(status, "bad_request")
    return _problem(status, reason, error.detail, headers=headers)


def problem_of_bug(error: Exception) -> ProblemDetailsException:
    """Log what nobody foresaw, and tell the caller nothing about it."""
    logger.error("request_failed", exc_info=error)
    trace = current_trace()
    details = {} if trace is None else {"trace_id": trace.trace_id}
    return _problem(500, INTERNAL_REASON, "Something is wrong on our side; the failure was logged.", details)


def status_of(error: TradeFlowError) -> int:
    """Tell the HTTP status of an error."""
    return next(status for error_class, status in _STATUS_OF_CLASS if isinstance(error, error_class))


def _problem(
    status: int,
    reason: str,
    detail: str,
    details: Mapping[str, str] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
) -> ProblemDetailsException:
    extra: dict[str, Any] = {"reason": reason}
    if details:
        extra["details"] = dict(details)
    return ProblemDetailsException(
        detail=detail[:DETAIL_CHARACTERS_MAX],
        status_code=status,
        type_=TYPE_PREFIX + reason,
        title=reason.replace("_", " ").capitalize(),
        extra=extra,
        headers=dict(headers or {}),
    )


def _first_fault(error: ValidationException) -> tuple[str, dict[str, str]]:
    """Name the first parameter that is wrong."""
    faults = error.extra if isinstance(error.extra, list) else []
    for fault in faults:
        field = str(fault.get("key", ""))
        message = str(fault.get("message", "is wrong"))
        if message == MISSING_BODY_MESSAGE:
            return "The request needs a body.", {"field": "body"}
        return (f"{field}: {message}" if field else message), ({"field": field} if field else {})
    return error.detail, {}


def _challenge(error: TradeFlowError) -> str:
    """Build the WWW-Authenticate header (RFC 6750, section 3): without a token there is no error to name."""
    return "Bearer" if error.reason == "token_missing" else 'Bearer error="invalid_token"'


_CLASS_OF_STATUS: dict[int, type[RejectedError]] = {
    400: InvalidArgumentError,
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    405: InvalidArgumentError,
    409: ConflictError,
    413: TooLargeError,
    415: UnsupportedMediaTypeError,
    422: RefusedError,
}


def problem_of(status: int, body: bytes, *, retry_after: str | None = None) -> TradeFlowError:
    """Rebuild the error that a service answered with; any 5xx, and what nobody knows, becomes UnavailableError.

    Args:
        status: The answer's HTTP status.
        body: Its body, a problem or anything else.
        retry_after: Its Retry-After header, in seconds.
    """
    problem = _read_problem(body)
    message = problem.get("detail") or problem.get("title") or f"The service answered {status}."
    reason = problem.get("reason")
    details = problem.get("details") or {}
    retry_after_seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 1.0
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(message, reason=reason, details=details, retry_after_seconds=retry_after_seconds)
    if reason == KeyReusedError.default_reason:
        return KeyReusedError(message, details=details)
    rejected = _CLASS_OF_STATUS.get(status)
    if rejected is not None:
        return rejected(message, reason=reason, details=details)
    return UnavailableError(message, reason=reason, details=details, retry_after_seconds=retry_after_seconds)


class _ReadProblem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    reason: str | None = None
    details: dict[str, str] = {}


def _read_problem(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.structs.asdict(msgspec.json.decode(body, type=_ReadProblem))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
