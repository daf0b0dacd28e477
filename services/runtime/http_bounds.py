"""Bounds on what a client may send, and how long it may take: neither the parser nor the server below has any.

A client that sends a header a minute would keep its connection for good, and one header without an end would fill the
memory; one that doesn't read would keep its answer, and behind the proxy a connection to the service that gives it.
Requests that come before the answers of earlier ones are kept by the server below, as many as a client likes to send.
Trailers go unread: the server below would take them for headers, behind those that a proxy in front has written.
Sources: RFC 9110, sections 6.5.1, 7.8 and 15.5.9; RFC 9112, section 9.3.2; RFC 6585, section 5.
"""

import asyncio
from typing import ClassVar

import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

logger = structlog.get_logger(__name__)

HEAD_SECONDS_MAX = 15.0
"""From the first byte of a request, or from the connection's begin, to the end of its headers."""

BODY_SECONDS_MAX = 60.0
"""From there to the end of its body: a megabyte at 140 kbit/s."""

UNREAD_SECONDS_MAX = 60.0
"""How long an answer may wait until its client reads some 50 KiB more of it."""

HEAD_BYTES_MAX = 32 * 1024
"""Request line and headers, and trailers; a token has up to 8 KiB, and proxies pass on about this much."""

PIPELINE_MAX = 16
"""How many requests may wait for the answer to an earlier one; each takes some KiB. Browsers and proxies send none so,
and who does must be ready for a connection that ends (RFC 9112, section 9.3.2)."""


class BoundedRequests(HttpToolsProtocol):
    """One client's connection."""

    head_seconds_max: ClassVar[float] = HEAD_SECONDS_MAX
    body_seconds_max: ClassVar[float] = BODY_SECONDS_MAX
    unread_seconds_max: ClassVar[float] = UNREAD_SECONDS_MAX
    _head_bytes: int = 0
    """What came since the last byte of a body, or of a request."""
    _is_in_head: bool = True
    _answering: RequestResponseCycle | None = None
    """The request that was begun last; `cycle` is the one that came last."""
    _patience: asyncio.TimerHandle | None = None
    _reader_patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait(self.head_seconds_max)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more, tell the request under way, and let go of those that wait behind it."""
        self._wait_no_longer()
        self._wait_for_reader_no_longer()
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            # The server below tells the last one alone: an endless answer would go on for good before one that waits.
            self._answering.disconnected = True
            self._answering.message_event.set()
        for waiting, _app in self.pipeline:
            waiting.on_response = _nothing  # it holds this connection, which holds it: only a full collection ends that
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse headers that have no end."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        """Begin a request: its headers have to come soon."""
        super().on_message_begin()
        self._is_in_head = True
        self._wait(self.head_seconds_max)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and leave a trailer."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let a request of a sane size begin; its body has to come soon."""
        self._is_in_head = False
        self._head_bytes = 0
        if len(self.pipeline) >= PIPELINE_MAX:
            self._cut("deep_pipeline_ended")
            raise ValueError("too many requests wait for answers")  # the parser stops; its caller's 400 goes nowhere
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES_MAX:
            raise ValueError("the headers are too long")  # the parser's caller answers 400
        self._wait(self.body_seconds_max)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; how long that gets is bounded by who reads it."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing: the answer's time is bounded elsewhere, and the next request's by the idle time."""
        self._head_bytes = 0
        self._wait_no_longer()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Let the answer wait for its reader, for a while."""
        super().pause_writing()
        self._reader_patience = self.loop.call_later(self.unread_seconds_max, self._give_reader_up)

    def resume_writing(self) -> None:
        """Go on: the reader has read."""
        self._wait_for_reader_no_longer()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Begin the next request, and read no more of them while others wait."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket's own bounds, which an answer before it would know nothing of."""
        is_answering = self._answering is not None and not self._answering.response_complete
        if is_answering or self.flow.write_paused:
            self._cut("early_upgrade_ended")
            return
        self._wait_no_longer()
        super().handle_websocket_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _wait(self, seconds: float) -> None:
        self._wait_no_longer()
        self._patience = self.loop.call_later(seconds, self._give_up)

    def _wait_no_longer(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        logger.info("slow_request_ended", in_headers=self._is_in_head, peer=self.client and self.client[0])
        self.transport.close()

    def _wait_for_reader_no_longer(self) -> None:
        if self._reader_patience is not None:
            self._reader_patience.cancel()
            self._reader_patience = None

    def _give_reader_up(self) -> None:
        self._cut("slow_reader_ended")

    def _cut(self, event: str) -> None:
        logger.info(event, peer=self.client and self.client[0])
        self.transport.abort()  # a close would wait for the reader too


def _nothing() -> None:
    """Stand in for what a request did at its end."""
