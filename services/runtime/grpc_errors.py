"""The error tree as gRPC statuses and back: the same class on both sides of the wire.

A status carries google.rpc.ErrorInfo (the reason, and the details as metadata) and, where it makes sense,
google.rpc.RetryInfo, or google.rpc.BadRequest with the field to blame (`field` of the details).

Source: https://google.aip.dev/193
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

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

logger = structlog.get_logger(__name__)

ERROR_DOMAIN = "tradeflow.dev"
"""Says that an ErrorInfo's reason is one of ours."""

DETAILS_METADATA_KEY = "grpc-status-details-bin"
"""Where gRPC carries a rich status, in trailers."""

INTERNAL_REASON = "internal"
"""The reason of a bug: the caller gets no more than this."""

MESSAGE_CHARACTERS_MAX = 1024
"""Statuses travel in HTTP/2 trailers, which are bounded at 8 KiB by default."""

_CODE_OF_CLASS: tuple[tuple[type[TradeFlowError], grpc.StatusCode], ...] = (
    (InvalidArgumentError, grpc.StatusCode.INVALID_ARGUMENT),
    (UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (ForbiddenError, grpc.StatusCode.PERMISSION_DENIED),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (KeyReusedError, grpc.StatusCode.ALREADY_EXISTS),
    (ConflictError, grpc.StatusCode.ABORTED),
    (RefusedError, grpc.StatusCode.FAILED_PRECONDITION),
    (TooLargeError, grpc.StatusCode.OUT_OF_RANGE),
    (RateLimitedError, grpc.StatusCode.UNAVAILABLE),
    (RejectedError, grpc.StatusCode.FAILED_PRECONDITION),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (TradeFlowError, grpc.StatusCode.UNKNOWN),
)
"""Subclasses stand before their bases."""

_CLASS_OF_CODE: dict[grpc.StatusCode, type[RejectedError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: ForbiddenError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: KeyReusedError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: RefusedError,
    grpc.StatusCode.OUT_OF_RANGE: TooLargeError,
}

_TRANSIENT_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""Nothing is known to be wrong with the call, and it may have had its effect."""


_CODE_OF_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


async def end_with_error(method: str, context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """End a call with the status of what its handler raised; anything but a TradeFlowError is a bug, logged, not shown.

    Raises:
        grpc.aio.AbortError: As gRPC wants it.
    """
    if isinstance(error, grpc.aio.AbortError):
        raise error  # the handler chose its own status
    if isinstance(error, TradeFlowError):
        await _abort(context, status_of(error))
    logger.error("grpc_call_failed", method=method, exc_info=error)
    await _abort(context, _internal_status())


def code_of(error: TradeFlowError) -> grpc.StatusCode:
    """Tell the status code of an error."""
    return next(code for error_class, code in _CODE_OF_CLASS if isinstance(error, error_class))


def status_of(error: TradeFlowError) -> Status:
    """Build the rich status of an error."""
    status = Status(code=code_of(error).value[0], message=error.message[:MESSAGE_CHARACTERS_MAX])
    _add_detail(status, ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.details))
    field = error.details.get("field")
    if field and isinstance(error, InvalidArgumentError):
        violation = BadRequest.FieldViolation(field=field, description=error.message[:MESSAGE_CHARACTERS_MAX])
        _add_detail(status, BadRequest(field_violations=[violation]))
    if isinstance(error, RateLimitedError | UnavailableError):
        wait = Duration()
        wait.FromMilliseconds(max(0, round(error.retry_after_seconds * 1000)))
        _add_detail(status, RetryInfo(retry_delay=wait))
    return status


def error_of(rpc_error: grpc.aio.AioRpcError) -> TradeFlowError:
    """Rebuild the error that the server raised; what the network did becomes UnavailableError.

    A code that the tree doesn't know (INTERNAL, UNIMPLEMENTED, …) becomes UnavailableError with the reason `internal`:
    whether the call had an effect isn't known, so it must be asked again with the same key.
    """
    info, retry = _details_of(rpc_error)
    ours = info is not None and info.domain == ERROR_DOMAIN
    code = rpc_error.code()
    return rebuilt_error(
        code.value[0],
        rpc_error.details() or code.name,
        reason=info.reason if info is not None and ours else None,
        details=info.metadata if info is not None and ours else {},
        retry_after_seconds=retry.retry_delay.ToMilliseconds() / 1000 if retry is not None else 1.0,
    )


def rebuilt_error(
    code: int, message: str, *, reason: str | None, details: Mapping[str, str], retry_after_seconds: float = 1.0
) -> TradeFlowError:
    """Rebuild an error of what travelled: a status, or a problem inside a reply.

    Args:
        code: The number of a google.rpc.Code.
        message: For people.
        reason: The stable word, if it is one of ours.
        details: For programs.
        retry_after_seconds: The hint, where there was one.
    """
    known = _CODE_OF_NUMBER.get(code, grpc.StatusCode.UNKNOWN)
    rejected = _CLASS_OF_CODE.get(known)
    if rejected is not None:
        return rejected(message, reason=reason, details=details)
    if known in _TRANSIENT_CODES:
        return UnavailableError(message, reason=reason, details=details, retry_after_seconds=retry_after_seconds)
    return UnavailableError(message, reason=INTERNAL_REASON, details={"code": known.name})


@contextmanager
def translating_errors() -> Iterator[None]:
    """Raise, instead of gRPC's error, the one that the server raised: put it around a client's call."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from error


async def _abort(context: grpc.aio.ServicerContext[Any, Any], status: Status) -> NoReturn:
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)
    raise AssertionError("abort returned")


def _internal_status() -> Status:
    status = Status(code=grpc.StatusCode.INTERNAL.value[0], message="internal error")
    _add_detail(status, ErrorInfo(reason=INTERNAL_REASON, domain=ERROR_DOMAIN))
    return status


def _add_detail(status: Status, message: BadRequest | ErrorInfo | RetryInfo) -> None:
    detail = AnyMessage()
    detail.Pack(message)
    status.details.append(detail)


def _details_of(rpc_error: grpc.aio.AioRpcError) -> tuple[ErrorInfo | None, RetryInfo | None]:
    info, retry = None, None
    for detail in _status_in(rpc_error).details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            detail.Unpack(info := ErrorInfo())
        elif detail.Is(RetryInfo.DESCRIPTOR):
            detail.Unpack(retry := RetryInfo())
    return info, retry


def _status_in(rpc_error: grpc.aio.AioRpcError) -> Status:
    for key, value in rpc_error.trailing_metadata() or ():
        if key == DETAILS_METADATA_KEY and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:
                break  # from a server that isn't ours
    return Status()
