"""Calls one path over connections that stay open, as cheaply as Python can: the caller must not be what is measured."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

END_OF_HEADERS = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a piece of calls did."""

    calls: int
    seconds: float
    sorted_call_seconds: Sequence[float]

    @property
    def per_second(self) -> float:
        """Tell the rate."""
        return self.calls / self.seconds

    def quantile_ms(self, share: float) -> float:
        """Tell within which time so many of 1 were answered."""
        index = min(len(self.sorted_call_seconds) - 1, int(share * len(self.sorted_call_seconds)))
        return self.sorted_call_seconds[index] * 1000


async def call_for(url: str, token: str, *, connections: int, seconds: float) -> Called:
    """Call without pause on each connection, for some seconds.

    Raises:
        RuntimeError: An answer wasn't 200.
    """
    call_seconds: list[float] = []
    began_at_seconds = time.perf_counter()
    ends_at_seconds = began_at_seconds + seconds
    await asyncio.gather(*(_call_on(url, token, ends_at_seconds, call_seconds) for _ in range(connections)))
    took_seconds = time.perf_counter() - began_at_seconds
    return Called(calls=len(call_seconds), seconds=took_seconds, sorted_call_seconds=sorted(call_seconds))


async def _call_on(url: str, token: str, ends_at_seconds: float, call_seconds: list[float]) -> None:
    address = urlsplit(url)
    path = f"{address.path}?{address.query}" if address.query else address.path
    request = f"GET {path} HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {token}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        while (began_at_seconds := time.perf_counter()) < ends_at_seconds:
            writer.write(request)
            await _read_answer(reader)
            call_seconds.append(time.perf_counter() - began_at_seconds)
    finally:
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(END_OF_HEADERS)).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"not 200: {head!r}")
    _, found, rest = head.partition(b"content-length:")
    if found:
        await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        return
    while (size := int(await reader.readuntil(b"\r\n"), 16)) > 0:
        await reader.readexactly(size + 2)
    await reader.readexactly(2)
