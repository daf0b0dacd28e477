"""What surrounds every call to one of our gRPC servers, whatever its kind: its trace, its metrics, its status.

gRPC has four kinds of handlers, each called in its own way; here that is done once. Handlers are wrapped where gRPC
looks them up, and once each: gRPC's interceptors would do so too, and cost every call 30 µs more. Some of gRPC's
classes are generic to the type checker alone, so their annotations are quoted.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from prometheus_client import Gauge, Histogram

from services.runtime.metrics import GrpcMetrics
from services.runtime.tracing import HEADER, SpanRecorder, blame_step, continued_trace, describe_step

logger = structlog.get_logger(__name__)
_levels = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
"""One call, as the handler sees it."""

Behavior = Callable[[Any, Context], Any]
"""A servicer's method."""

EndWithError = Callable[[str, Context, Exception], Awaitable[None]]
"""Ends a call of a method with the status of what its handler raised; raises always."""

PROBED_SERVICES = "/grpc."
"""How the methods of gRPC's own services begin: health is asked every few seconds, and would be most of all spans."""

DEADLINE_SECONDS_SLACK = 0.01
"""A call that is cancelled with less time left ended by its deadline: clocks and event loops are no more exact."""

DEADLINE_PART_SLACK = 0.05
"""The same as a part of the time that the call took. Clients round up the time that they send, by 1 %, and repeat the
last call's where it is at most 3 % more: when theirs is over, the server sees so much of it left.

Source: https://github.com/grpc/grpc/blob/master/src/core/lib/transport/timeout_encoding.cc and, as TimeoutCompressor,
https://github.com/grpc/grpc/blob/master/src/core/ext/transport/chttp2/transport/hpack_encoder.cc
"""

_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class SurroundedMethods(grpc.GenericRpcHandler):
    """The methods of one service, each of which is run in its caller's surroundings."""

    def __init__(self, methods: grpc.GenericRpcHandler, surroundings: "Surroundings") -> None:
        """Look methods up in `methods`."""
        self._methods = methods
        self._surroundings = surroundings
        self._surrounded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Find the handler of a method; a method that doesn't exist has none."""
        method = handler_call_details.method
        known = self._surrounded.get(method)
        if known is None:
            handler = self._methods.service(handler_call_details)
            if handler is None:
                return None
            known = self._surrounded[method] = self._surroundings.of(handler, method)
        return known


class Surroundings:
    """Runs each handler in its caller's trace, counts and times it, and ends it with the status of its error."""

    def __init__(
        self, metrics: GrpcMetrics, end_with_error: EndWithError, recorder: SpanRecorder | None = None
    ) -> None:
        """Count in `metrics`, record in `recorder`; `end_with_error` knows the statuses."""
        self._metrics = metrics
        self._recorder = recorder
        self._end_with_error = end_with_error
        self._in_progress: dict[str, _InProgress] = {}
        self._durations: dict[tuple[str, str], Histogram] = {}

    def of(self, handler: Any, method: str) -> "grpc.RpcMethodHandler[Any, Any]":
        """Wrap the handler of a method."""
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._answering(handler.unary_unary, method), **codec)
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(self._answering(handler.stream_unary, method), **codec)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._streaming(handler.unary_stream, method), **codec)
        return grpc.stream_stream_rpc_method_handler(self._streaming(handler.stream_stream, method), **codec)

    def _answering(self, behavior: Behavior, method: str) -> Behavior:
        recorder = self._recorder_of(method)

        async def answer(request: Any, context: Context) -> Any:
            measured = self._begin(method)
            with continued_trace(metadata_value(context, HEADER), method, recorder=recorder):
                try:
                    return await behavior(request, context)
                except BaseException as error:
                    await self._fail(measured, context, error)
                    raise
                finally:
                    self._end(measured)

        return answer

    def _streaming(self, behavior: Behavior, method: str) -> Behavior:
        if method.startswith(PROBED_SERVICES):
            return behavior  # it lasts for as long as somebody watches, which says nothing of us
        if not inspect.isasyncgenfunction(behavior):
            return self._answering(behavior, method)  # it writes to the context and returns nothing
        recorder = self._recorder_of(method)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            measured = self._begin(method)
            with continued_trace(metadata_value(context, HEADER), method, recorder=recorder):
                try:
                    async for response in behavior(request, context):
                        yield response
                except BaseException as error:
                    await self._fail(measured, context, error)
                    raise
                finally:
                    self._end(measured)

        return stream

    def _recorder_of(self, method: str) -> SpanRecorder | None:
        return None if method.startswith(PROBED_SERVICES) else self._recorder

    def _begin(self, method: str) -> "_Measured":
        in_progress = self._in_progress.get(method)
        if in_progress is None:
            in_progress = self._in_progress[method] = _InProgress(self._metrics.in_progress.labels(method))
        in_progress.calls += 1
        return _Measured(method, in_progress)

    async def _fail(self, measured: "_Measured", context: Context, error: BaseException) -> None:
        """Note the status of what ended a call, and give it one if it has none; raises what gRPC wants to see."""
        if isinstance(error, asyncio.CancelledError):
            measured.code = _code_of_cancelled(context, time.perf_counter() - measured.began_at_seconds).name
        elif isinstance(error, Exception):
            # What gRPC raises to end the call says nothing of who is to blame.
            blame_step(error)
            try:
                await self._end_with_error(measured.method, context, error)
            finally:
                measured.code = _code_name(context)
                describe_step(None, {"rpc.response.status_code": measured.code})

    def _end(self, measured: "_Measured") -> None:
        measured.in_progress.calls -= 1
        labels = (measured.method, measured.code)
        duration = self._durations.get(labels)
        if duration is None:
            duration = self._durations[labels] = self._metrics.duration_seconds.labels(*labels)
        seconds = time.perf_counter() - measured.began_at_seconds
        duration.observe(seconds)
        # The standard library keeps the answer: it costs nothing where nobody wants the line.
        if _levels.isEnabledFor(logging.DEBUG):
            logger.debug("grpc_call", method=measured.method, code=measured.code, duration_seconds=round(seconds, 6))


class _InProgress:
    """Counts calls under way; the gauge looks here when it is read, since its own lock would cost on every call."""

    __slots__ = ("calls",)

    def __init__(self, gauge: Gauge) -> None:
        self.calls = 0
        gauge.set_function(lambda: self.calls)


class _Measured:
    """A call under way."""

    __slots__ = ("began_at_seconds", "code", "in_progress", "method")

    def __init__(self, method: str, in_progress: _InProgress) -> None:
        self.method = method
        self.in_progress = in_progress
        self.began_at_seconds = time.perf_counter()
        self.code = grpc.StatusCode.OK.name


def metadata_value(context: Context, key: str) -> str | None:
    """Return the first text under a metadata key."""
    for name, value in context.invocation_metadata() or ():
        if name == key and isinstance(value, str):
            return value
    return None


def _code_of_cancelled(context: Context, took_seconds: float) -> grpc.StatusCode:
    """Tell a call whose time is over from one that its caller gave up, or that the server's end cut: gRPC does not."""
    left_seconds: Any = context.time_remaining()
    slack_seconds = max(DEADLINE_SECONDS_SLACK, DEADLINE_PART_SLACK * took_seconds)
    if left_seconds is not None and left_seconds <= slack_seconds:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED


def _code_name(context: Context) -> str:
    """Name the status that an aborted call ends with; the C core keeps it as a number."""
    code: Any = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return _CODE_NAMES.get(number, grpc.StatusCode.UNKNOWN.name)
