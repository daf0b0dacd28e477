"""The outermost layer of an HTTP service: the trace, and the metrics of every request, unmatched ones too.

Litestar's own middlewares (its Prometheus plugin is one) run after routing, so they miss what no route matched, and
that plugin keeps its metrics in one place for the whole process, where several services may live.
"""

import time

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.metrics import HttpMetrics
from services.runtime.tracing import HEADER, Attributes, SpanRecorder, continued_trace, describe_step

logger = structlog.get_logger(__name__)

UNMATCHED_ROUTE = "unmatched"
"""The route label of requests that no route matched: their paths are the callers' choice."""

OTHER_METHOD = "OTHER"
"""The method label of methods that nobody knows."""

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that get a label of their own."""

PROBED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: their spans would be most of what a collector keeps."""

_HEADER_BYTES = HEADER.encode()


class HttpEdge:
    """Wraps an application's ASGI handler."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, recorder: SpanRecorder | None = None) -> None:
        """Wrap `app`, count in `metrics` and record in `recorder`."""
        self._app = app
        self._metrics = metrics
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        recorder = None if scope["path"] in PROBED_PATHS else self._recorder
        with continued_trace(_traceparent(scope), str(scope["type"]), recorder=recorder):
            if scope["type"] == ScopeType.WEBSOCKET:
                with self._metrics.websockets.track_inprogress():
                    await self._app(scope, receive, send)
            else:
                await self._measured(scope, receive, send)

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        sent_method = str(scope.get("method", ""))
        method = sent_method if sent_method in KNOWN_METHODS else OTHER_METHOD
        began_at_seconds = time.perf_counter()
        try:
            with self._metrics.in_progress.labels(method).track_inprogress():
                await self._app(scope, receive, noting_status)
        finally:
            route = scope.get("path_template") or UNMATCHED_ROUTE
            label = str(status) if status else "aborted"
            duration_seconds = time.perf_counter() - began_at_seconds
            self._metrics.duration_seconds.labels(method, route, label).observe(duration_seconds)
            logger.debug(
                "http_request", method=method, route=route, status=label, duration_seconds=round(duration_seconds, 6)
            )
            described: Attributes = {"http.request.method": method, "http.route": route}
            describe_step(f"{method} {route}", {**described, "http.response.status_code": status})


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name.lower() == _HEADER_BYTES:
            return value.decode("latin-1")
    return None
