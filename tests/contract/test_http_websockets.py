"""WebSockets of clients that ping and never read: on real sockets, which take as much as they get."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
import pytest_asyncio
import websockets
from litestar import WebSocket, websocket

from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_server import serving_http
from services.runtime.http_websockets import FRAGMENTS_MAX, BoundedWebSocket

DEADLINE_SECONDS = 60.0
"""How long something may take to happen on a busy machine."""

HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

PINGS = (b"\x89\xfd\0\0\0\0" + bytes(125)) * 512
"""64 KiB of pings, each of which is answered with as much."""

TAKEN_BYTES_MAX = 64 * 1024 * 1024
"""More than the sockets of both sides hold, which grow to some MB each."""

UNREAD_BYTES_MAX = 1024 * 1024
"""The transport's high-water mark of 64 KiB, and the answers to all that is read at once."""

PUSHES = 200

PUSH = "x" * 20_000
"""All pushes together are more than the sockets hold that the slow reader has."""


class Seen:
    """What this test's server has seen."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin a test, in its loop."""
        self.sockets: list[ObservedWebSocket] = []
        self.begun = asyncio.Event()  # the handshake's request has come
        self.released = asyncio.Event()  # ends the application of /ending
        self.lost = asyncio.Event()  # the connection has gone


seen = Seen()


class ObservedWebSocket(BoundedWebSocket):
    """Lets the test look at its transport, and pings as often as it says."""

    seconds_between_pings: ClassVar[float] = 20.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ping_interval = self.ping_timeout = self.seconds_between_pings
        seen.sockets.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        seen.lost.set()


@websocket("/idle")
async def idle(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


@websocket("/refusing")
async def refusing(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.close(code=3000, reason="no ticket")


@websocket("/waiting")
async def waiting(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.receive()
    seen.begun.set()
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


@websocket("/ending")
async def ending(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await seen.released.wait()


@websocket("/pushing")
async def pushing(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    for _ in range(PUSHES):
        await socket.send_text(PUSH)
    assert await socket.receive_text() == "thanks"
    await socket.close()


@pytest_asyncio.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    seen.forget()
    monkeypatch.setattr("services.runtime.http_server.BoundedWebSocket", ObservedWebSocket)
    routes = [idle, refusing, waiting, ending, pushing]
    app = create_http_app(title="WebSockets", route_handlers=routes, verifier=None, health=Health())
    async with serving_http(app, "127.0.0.1", 0) as url:
        yield int(url.rpartition(":")[2])


@contextmanager
def a_client(port: int, path: bytes) -> Iterator[socket.socket]:
    """Send the handshake, and read nothing but what the test reads."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setblocking(False)  # noqa: FBT003 - the standard library's own
        client.send(HANDSHAKE % path)
        yield client


async def opened(client: socket.socket) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        answer = await asyncio.get_running_loop().sock_recv(client, 4096)
    assert answer.startswith(b"HTTP/1.1 101")


async def bytes_taken(client: socket.socket) -> int:
    """Ping until the server takes no more for a second, or has gone, and count; look at its buffer all the time."""
    taken = 0
    loop = asyncio.get_running_loop()
    try:
        while taken < TAKEN_BYTES_MAX:
            async with asyncio.timeout(1):
                await loop.sock_sendall(client, PINGS)
            taken += len(PINGS)
            assert seen.sockets[0].transport.get_write_buffer_size() < UNREAD_BYTES_MAX
    except (TimeoutError, ConnectionError):
        pass
    return taken


async def gone() -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await seen.lost.wait()


@pytest.mark.parametrize("path", [b"/idle", b"/refusing"], ids=["open", "refused after the handshake"])
async def test_pings_whose_answers_nobody_reads_are_taken_no_more(port: int, path: bytes) -> None:
    with a_client(port, path) as client:
        await opened(client)

        assert await bytes_taken(client) < TAKEN_BYTES_MAX


@pytest.mark.parametrize("path", [b"/refusing", b"/ending"], ids=["a close", "the application's end"])
async def test_a_close_that_nobody_reads_ends_soon(port: int, monkeypatch: pytest.MonkeyPatch, path: bytes) -> None:
    monkeypatch.setattr(BoundedWebSocket, "unread_close_seconds_max", 1.0)
    with a_client(port, path) as client:
        await opened(client)
        await bytes_taken(client)
        seen.released.set()

        await gone()


async def test_who_reads_no_ping_of_ours_is_gone_soon(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedWebSocket, "unread_close_seconds_max", 1.0)
    monkeypatch.setattr(ObservedWebSocket, "seconds_between_pings", 0.5)
    with a_client(port, b"/idle") as client:
        await opened(client)
        await bytes_taken(client)

        await gone()


async def test_who_pings_and_reads_later_gets_all_answers(port: int) -> None:
    with a_client(port, b"/idle") as client:
        await opened(client)
        loop = asyncio.get_running_loop()
        pinging = asyncio.create_task(loop.sock_sendall(client, PINGS * 256))
        await asyncio.wait([pinging], timeout=1)
        assert not pinging.done()

        received = bytearray()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(received) < 256 * 512 * 127:
                received += await loop.sock_recv(client, 1024 * 1024)

        assert received == (b"\x8a\x7d" + bytes(125)) * 512 * 256
        await pinging


async def test_who_reads_pushes_slowly_gets_all_and_is_heard(port: int) -> None:
    address = f"ws://127.0.0.1:{port}/pushing"
    async with asyncio.timeout(DEADLINE_SECONDS), websockets.connect(address, max_queue=1) as connection:
        pong = await connection.ping()
        await asyncio.sleep(1)  # the server has to wait meanwhile
        for _ in range(PUSHES):
            assert await connection.recv() == PUSH
        await pong
        await connection.send("thanks")
        await connection.wait_closed()

    assert connection.close_code == 1000


async def test_what_comes_before_the_handshakes_answer_is_no_error_of_ours(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with a_client(port, b"/waiting") as client:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await seen.begun.wait()
        client.send(b"\x81\x03end")  # without a mask, as only servers send
        await gone()

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_message_in_pieces_without_end_ends_the_connection(port: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE % b"/idle")
        await reader.readuntil(b"\r\n\r\n")

        writer.write(b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * FRAGMENTS_MAX)
        answer = await reader.read()
        writer.close()

    assert answer == b"\x88\x11\x03\xf1too many pieces"


async def test_a_message_in_pieces_is_one(port: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), websockets.connect(f"ws://127.0.0.1:{port}/pushing") as connection:
        for _ in range(PUSHES):
            await connection.recv()
        await connection.send(["tha", "nks"])
        await connection.wait_closed()

    assert connection.close_code == 1000
