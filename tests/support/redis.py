"""A Redis for tests: fakeredis behind a real TCP port, in threads of its own; it can be stopped and come back empty."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import redis
from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler

HOST = "127.0.0.1"

STOP_POLL_SECONDS = 0.02


class _AnsweringHandler(TCPFakeRequestHandler):
    """Answers errors as Redis does.

    fakeredis 2.40 closes the connection after each error reply, even after the everyday NOSCRIPT.
    """

    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        read_response = self.current_client.read_response

        def read_response_or_error(*arguments: Any, **options: Any) -> Any:
            try:
                return read_response(*arguments, **options)
            except redis.ResponseError as error:
                return error

        # An instance's own attribute hides the method for this connection alone.
        vars(self.current_client)["read_response"] = read_response_or_error


class _Server(TcpFakeServer):
    """Lets a pool of connections in at once: the standard library's queue of 5 drops the rest for a second."""

    request_queue_size = 128


class FakeRedisServer:
    """Starts and stops; each start is empty, on the same port."""

    def __init__(self) -> None:
        self.port = 0
        self._server: TcpFakeServer | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        server = _Server((HOST, self.port), server_version=(7, 0))
        server.RequestHandlerClass = _AnsweringHandler
        server.daemon_threads = True
        self.port = server.server_address[1]
        self._server = server
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": STOP_POLL_SECONDS}, name="fakeredis", daemon=True
        ).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()  # handlers see its event within 10 ms and close their connections
            server.server_close()


@contextmanager
def running_redis() -> Iterator[FakeRedisServer]:
    """Serve on a free port."""
    server = FakeRedisServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def serving_redis() -> AsyncIterator[FakeRedisServer]:
    """Serve on a free port, without holding up the event loop at the end."""
    server = FakeRedisServer()
    server.start()
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)
