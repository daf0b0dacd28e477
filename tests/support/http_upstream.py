"""A tiny HTTP/1.1 server on a raw socket, to stand behind a proxy: it says exactly what a test wants, byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    """With lower-case names, repeated ones too."""
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the only value of a header."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
"""Writes a response; returning closes the connection."""


def answering(
    status: int = 200,
    body: bytes = b"{}",
    *,
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),),
) -> Answer:
    """Answer every request the same."""

    async def answer(_received: Received, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Text", *(f"{name}: {value}" for name, value in headers)]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return answer


@dataclass(slots=True)
class HttpUpstream:
    """What came, and what to say."""

    url: str = ""
    answer: Answer = field(default_factory=answering)
    received: list[Received] = field(default_factory=list)
    broken_off: int = 0
    """Requests that ended before they were complete."""

    @property
    def last(self) -> Received:
        """Return the newest request."""
        return self.received[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request of one connection."""
        try:
            received = await _read_request(reader)
            self.received.append(received)
            await self.answer(received, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.broken_off += 1
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    pairs = [line.partition(":") for line in lines if line]
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
    fields = dict(headers)
    if fields.get("transfer-encoding") == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(fields.get("content-length", "0")))
    return Received(method=method, target=target, headers=headers, body=body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body


@asynccontextmanager
async def serving_upstream(tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpUpstream]:
    """Serve on a free port."""
    upstream = HttpUpstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=tls)
    host, port = server.sockets[0].getsockname()[:2]
    upstream.url = f"{'http' if tls is None else 'https'}://{host}:{port}"
    try:
        yield upstream
    finally:
        server.close()
        await server.wait_closed()
