"""Server interceptors that surround a call, whatever its kind: unary or streaming, either way.

gRPC's own interface hands over one of four kinds of handlers, each called in its own way; here that is done once. Some
of gRPC's classes are generic to the type checker alone, so their annotations are quoted.
"""

import asyncio
import inspect
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc

from services.runtime.metrics import GrpcMetrics
from services.runtime.tracing import HEADER, continued_trace

Context = grpc.aio.ServicerContext[Any, Any]
"""One call, as the handler sees it."""

Behavior = Callable[[Any, Context], Any]
"""A servicer's method."""

_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class AroundInterceptor(grpc.aio.ServerInterceptor):
    """An interceptor written as a context manager around the handler."""

    @abstractmethod
    def around(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        """Surround one call.

        Args:
            method: Its full name, `/package.Service/Method`.
            context: The call.
        """

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Wrap the handler that gRPC found; a method that doesn't exist has none."""
        handler = await continuation(handler_call_details)
        return None if handler is None else self._wrapped(handler, handler_call_details.method)

    def _wrapped(self, handler: Any, method: str) -> "grpc.RpcMethodHandler[Any, Any]":
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
        async def answer(request: Any, context: Context) -> Any:
            async with self.around(method, context):
                return await behavior(request, context)

        return answer

    def _streaming(self, behavior: Behavior, method: str) -> Behavior:
        if not inspect.isasyncgenfunction(behavior):
            return self._answering(behavior, method)  # it writes to the context and returns nothing

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self.around(method, context):
                async for response in behavior(request, context):
                    yield response

        return stream


class MetricsInterceptor(AroundInterceptor):
    """Counts and times calls by method and status."""

    def __init__(self, metrics: GrpcMetrics) -> None:
        """Count in `metrics`."""
        self._metrics = metrics

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Time the call, however it ends."""
        began_at_seconds = time.perf_counter()
        code = grpc.StatusCode.OK.name
        try:
            with self._metrics.in_progress.labels(method).track_inprogress():
                yield
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED.name
            raise
        except Exception:
            code = _code_name(context)
            raise
        finally:
            self._metrics.duration_seconds.labels(method, code).observe(time.perf_counter() - began_at_seconds)


class TraceInterceptor(AroundInterceptor):
    """Runs the handler in the caller's trace."""

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:  # noqa: ARG002 - the base's signature
        """Continue the trace of the call's metadata, or begin one."""
        with continued_trace(metadata_value(context, HEADER)):
            yield


def metadata_value(context: Context, key: str) -> str | None:
    """Return the first text under a metadata key."""
    for name, value in context.invocation_metadata() or ():
        if name == key and isinstance(value, str):
            return value
    return None


def _code_name(context: Context) -> str:
    """Name the status that an aborted call ends with; the C core keeps it as a number."""
    code: Any = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return _CODE_NAMES.get(number, grpc.StatusCode.UNKNOWN.name)
