"""A Redis in this process: fakeredis behind a real TCP port, with Lua. What it holds ends with the process.

It runs in threads of its own; the gateway speaks to it as it would to a real one.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fakeredis import TcpFakeServer
from redis import ResponseError

HOST = "127.0.0.1"
"""Only this machine: it asks for no password."""

STOP_POLL_SECONDS = 0.05
"""How soon the accepting thread notices that it should end."""


class _Server(TcpFakeServer):
    """Fakeredis, whose open connections keep neither its end nor the process's waiting."""

    def __init__(self) -> None:
        super().__init__((HOST, 0))
        self.daemon_threads = True
        self.RequestHandlerClass = _answering_errors(self.RequestHandlerClass)


def _answering_errors(handler: Any) -> Any:
    """Make a handler that answers errors as Redis does: fakeredis 2.40 hangs up after each, even the usual NOSCRIPT."""

    class AnsweringHandler(handler):  # type: ignore[misc]  # known at run time only
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            client: Any = self.current_client
            read_response = client.read_response

            def read_response_or_error(*arguments: Any, **options: Any) -> Any:
                try:
                    return read_response(*arguments, **options)
                except ResponseError as error:
                    return error

            client.read_response = read_response_or_error  # of this connection alone

    return AnsweringHandler


@asynccontextmanager
async def serving_redis() -> AsyncIterator[str]:
    """Serve on a free port of the loopback interface and yield the URL."""
    server = _Server()
    accepting = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": STOP_POLL_SECONDS}, name="fakeredis", daemon=True
    )
    accepting.start()
    try:
        yield f"redis://{HOST}:{server.server_address[1]}/0"
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
