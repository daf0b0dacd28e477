"""Statements over a connection that aiomysql made.

aiomysql connects, speaks TLS and signs in; from then on its transport belongs to a protocol that reads whole chunks
instead of awaiting each packet's four bytes: a packet of ten statements costs the event loop one turn.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from services.runtime.mysql.errors import ConnectionLostError, ServerError
from services.runtime.mysql.results import MORE_RESULTS, Convert, Result, length_encoded, read_column, read_ok, read_row

_COM_QUIT: Final = 0x01
_COM_QUERY: Final = 0x03

_HEADER_BYTES: Final = 4
_PAYLOAD_MAX: Final = 0xFFFFFF
"""A packet this large is continued by the next one."""

_OK: Final = 0x00
_LOCAL_INFILE: Final = 0xFB
_END: Final = 0xFE
_ERROR: Final = 0xFF
_END_BYTES_MAX: Final = 8
"""What begins like an end and is longer is a row whose first value is large."""


OnResult = Callable[[int], None]
"""Is told how many statements of a packet have succeeded so far. It must not raise."""


class Response:
    """What a packet of statements gave: the results in their order, and the error at which the server stopped."""

    __slots__ = ("error", "results")

    def __init__(self) -> None:
        """Begin empty."""
        self.results: list[Result] = []
        self.error: ServerError | None = None


class Wire(asyncio.Protocol):
    """One connection; one packet of statements at a time."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Take a transport over, on which nothing is under way."""
        self._transport = transport
        self._answer: asyncio.Future[Response] | None = None
        self._on_result: OnResult = _nobody
        self._response = Response()
        self._received = bytearray()
        self._needed = _HEADER_BYTES
        self._continued = b""
        self._handle: Callable[[bytes], None] = self._first
        self._columns_left = 0
        self._names: list[str] = []
        self._converters: list[Convert | None] = []
        self.lost = transport.is_closing()
        transport.set_protocol(self)
        transport.resume_reading()

    def send(self, packet: bytes, on_result: OnResult | None = None) -> asyncio.Future[Response]:
        """Send statements, separated by semicolons; the future is done when all of them have answered.

        It raises `ConnectionLostError` when the connection ends before that. `on_result` is told how many statements
        have succeeded so far, after each: the server says so while it works on the next.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._on_result = on_result or _nobody
        if self.lost:
            self._answer.set_exception(ConnectionLostError("the connection was closed"))
            return self._answer
        self._response = Response()
        self._handle = self._first
        # A packet may have megabytes: no copy of it is made.
        payload, before = memoryview(packet), bytes([_COM_QUERY])
        for sequence, start in enumerate(range(0, len(packet) + 2, _PAYLOAD_MAX)):
            part = payload[max(0, start - 1) : start + _PAYLOAD_MAX - 1]
            header = (len(before) + len(part)).to_bytes(3, "little") + bytes([sequence % 256])
            self._transport.writelines((header + before, part))
            before = b""
        return self._answer

    def quit(self) -> None:
        """Say goodbye and close."""
        if not self.lost:
            self._transport.write(bytes([1, 0, 0, 0, _COM_QUIT]))
        self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self.lost = True
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionLostError(str(exc) if exc else "the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Take the packets that are complete."""
        if self._answer is None or self._answer.done():
            # The server speaks unasked only to say that it closes the connection.
            self.abort()
            return
        self._received += data
        if len(self._received) < self._needed:
            return
        received = bytes(self._received)
        position = 0
        self._needed = _HEADER_BYTES
        try:
            while not self._answer.done():
                end = position + _HEADER_BYTES
                if end > len(received):
                    break
                length = int.from_bytes(received[position : position + 3], "little")
                if end + length > len(received):
                    self._needed = _HEADER_BYTES + length
                    break
                position = end + length
                self._packet(received[end:position], continues=length == _PAYLOAD_MAX)
        except (IndexError, ValueError) as error:
            self.abort()
            self._answer.set_exception(ConnectionLostError(f"an answer that can't be read: {error}"))
        del self._received[:position]
        if self._answer.done() and self._received:
            # Unasked, and right behind the answer, which it says nothing of.
            self.abort()

    def _packet(self, payload: bytes, *, continues: bool) -> None:
        if continues:
            self._continued += payload
            return
        if self._continued:
            payload, self._continued = self._continued + payload, b""
        self._handle(payload)

    def _first(self, packet: bytes) -> None:
        """Take the packet that begins a result."""
        kind = packet[0]
        if kind == _OK:
            self._ended(read_ok(packet))
        elif kind == _ERROR:
            self._failed(packet)
        elif kind == _LOCAL_INFILE:
            raise ValueError("the server asks for a file")
        else:
            self._columns_left, _ = length_encoded(packet, 0)
            self._names, self._converters = [], []
            self._handle = self._column

    def _column(self, packet: bytes) -> None:
        if self._columns_left:
            name, converter = read_column(packet)
            self._names.append(name)
            self._converters.append(converter)
            self._columns_left -= 1
            return
        self._response.results.append(Result(columns=tuple(self._names)))
        self._handle = self._row

    def _row(self, packet: bytes) -> None:
        kind = packet[0]
        if kind == _END and len(packet) <= _END_BYTES_MAX:
            result = self._response.results.pop()
            result.warnings = int.from_bytes(packet[1:3], "little")
            result.status = int.from_bytes(packet[3:5], "little")
            self._ended(result)
        elif kind == _ERROR:
            self._response.results.pop()
            self._failed(packet)
        else:
            self._response.results[-1].rows.append(read_row(packet, self._converters))

    def _ended(self, result: Result) -> None:
        self._response.results.append(result)
        self._handle = self._first
        self._on_result(len(self._response.results))
        if not result.status & MORE_RESULTS:
            self._done()

    def _failed(self, packet: bytes) -> None:
        self._response.error = ServerError(packet)
        self._done()

    def _done(self) -> None:
        # Whoever was told may hold all that was written.
        self._on_result = _nobody
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._response)


def _nobody(_: int) -> None:
    """Tell nobody."""
