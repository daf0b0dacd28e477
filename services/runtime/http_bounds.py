"""Bounds on what a client may send, and how long it may take: neither the parser nor the server below has any.

A client that sends a header a minute would keep its connection for good, and one header without an end would fill the
memory; one that doesn't read would keep its answer, and behind the proxy a connection to the service that gives it.
Trailers go unread: the server below would take them for headers, behind those that a proxy in front has written.
Sources: RFC 9110, sections 6.5.1 and 15.5.9; RFC 6585, section 5.
"""

import asyncio
from typing import ClassVar

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = structlog.get_logger(__name__)

HEAD_SECONDS_MAX = 15.0
"""From the first byte of a request, or from the connection's begin, to the end of its headers."""

BODY_SECONDS_MAX = 60.0
"""From there to the end of its body: a megabyte at 140 kbit/s."""

UNREAD_SECONDS_MAX = 60.0
"""How long an answer may wait until its client reads some 50 KiB more of it."""

HEAD_BYTES_MAX = 32 * 1024
"""Request line and headers, and trailers; a token has up to 8 KiB, and proxies pass on about this much."""


class BoundedRequests(HttpToolsProtocol):
    """One client's connection."""

    head_seconds_max: ClassVar[float] = HEAD_SECONDS_MAX
    body_seconds_max: ClassVar[float] = BODY_SECONDS_MAX
    unread_seconds_max: ClassVar[float] = UNREAD_SECONDS_MAX
    _head_bytes: int = 0
    """What came since the last byte of a body, or of a request."""
    _is_in_head: bool = True
    _patience: asyncio.TimerHandle | None = None
    _reader_patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait(self.head_seconds_max)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait_no_longer()
        self._wait_for_reader_no_longer()
        super().connection_lost(exc)

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

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket's own bounds."""
        self._wait_no_longer()
        super().handle_websocket_upgrade()

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
        logger.info("slow_reader_ended", peer=self.client and self.client[0])
        self.transport.abort()  # a close would wait for the reader too
