"""WebSockets whose clients may read as slowly as they like, and cost no more memory and no more time for that.

The server below answers each ping at once, whether its client reads the answers or not, and its closes wait until all
is read: one that pings and never reads would fill the memory, and keep it after the close too.
"""

import asyncio
from typing import ClassVar

import structlog
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

logger = structlog.get_logger(__name__)

UNREAD_CLOSE_SECONDS_MAX = 15.0
"""How long a connection stays after its close: the 10 s that the client gets to answer it, and some more."""

FRAGMENTS_MAX = 1024
"""Pieces of one message: empty ones add nothing to its size, and each takes memory."""


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One client's WebSocket: nothing is read of it while it reads nothing, and its close has an end."""

    unread_close_seconds_max: ClassVar[float] = UNREAD_CLOSE_SECONDS_MAX
    _close_patience: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        if self._close_patience is not None:
            self._close_patience.cancel()

    def data_received(self, data: bytes) -> None:
        """Take frames, which may end the connection."""
        super().data_received(data)
        self._bound_close()

    def pause_writing(self) -> None:
        """Take no more of a client that has too much to read: each of its pings would add to that."""
        super().pause_writing()
        self._read_if_read()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        self._read_if_read()

    def handle_cont(self, event: Frame) -> None:
        """Take a piece of a message, which has an end."""
        if self.transport.is_closing():
            return
        if len(self.frames) < FRAGMENTS_MAX:
            super().handle_cont(event)
            return
        self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many pieces")
        self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """End a connection that breaks the protocol; before the handshake's answer there is nothing to say about it."""
        if self.conn.close_sent is not None:
            super().handle_parser_exception()
            return
        self.disconnected = True  # so that the application sends nothing any more
        self.transport.abort()

    def keepalive_timeout(self) -> None:
        """End a connection that answers no ping; that end comes, though nobody reads."""
        super().keepalive_timeout()
        self._bound_close()

    async def run_asgi(self) -> None:
        """Run the application; the connection ends with it."""
        await super().run_asgi()
        self._bound_close()

    async def receive(self) -> ASGIReceiveEvent:
        """Give the application what came; the server below would read on, whatever waits to be read."""
        message = await super().receive()
        self._read_if_read()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Send, and take a refused handshake for complete: else each refusal is logged as an error of the application.

        Source: https://github.com/Kludex/uvicorn/pull/3138
        """
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True
        self._read_if_read()
        self._bound_close()

    def _read_if_read(self) -> None:
        """Read while the client reads and, as the server below has it, the application takes what came."""
        if not self.writable.is_set():
            self.transport.pause_reading()
        elif not self.read_paused:
            self.transport.resume_reading()

    def _bound_close(self) -> None:
        is_ending = self.close_sent or self.transport.is_closing()
        if is_ending and not self.disconnected and self._close_patience is None:
            self._close_patience = self.loop.call_later(self.unread_close_seconds_max, self._give_up)

    def _give_up(self) -> None:
        logger.info("unread_websocket_ended", peer=self.client and self.client[0])
        self.transport.abort()  # a close would wait for the reader
