"""An HTTP server in the running event loop; several live in one process, and signals stay with `lifecycle`."""

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from litestar import Litestar

from services.runtime.http_bounds import BoundedRequests
from services.runtime.http_websockets import BoundedWebSocket

STOP_SECONDS_MAX = 5
"""How long requests under way and open WebSockets may take to end."""

CLOSE_SECONDS_MAX = 2.0
"""What cancelled requests get on top of that."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than the 60 s that proxies keep theirs, so that they close first."""

WEBSOCKET_BYTES_MAX = 64 * 1024
"""The largest message a client may send; ours only send pings."""

BACKLOG = 2048
"""How many connections may wait to be accepted."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the process's signals alone."""
        yield


@asynccontextmanager
async def serving_http(
    app: Litestar, host: str, port: int, *, stop_seconds_max: int = STOP_SECONDS_MAX
) -> AsyncIterator[str]:
    """Serve while the body runs, and yield the URL, without a slash at its end.

    At the end no connection is accepted any more, requests under way may finish, WebSockets are closed with 1012, and
    what is left after the bound is cancelled.

    Args:
        app: The application; its lifespan is entered first and left last.
        host: The address to listen on.
        port: The port, or 0 for any free one.
        stop_seconds_max: How long requests under way may take at the end.

    Raises:
        OSError: The address can't be listened on.
    """
    listener = _listen(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    server = _Server(_config(app, stop_seconds_max))
    serving = asyncio.create_task(_serve(app, server, listener), name=f"http {url}")
    try:
        await _started(server, serving)
        yield url
    finally:
        server.should_exit = True
        await _stop(server, serving, stop_seconds_max)


async def _serve(app: Litestar, server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve in a task of its own, which also leaves the lifespan: anyio's scopes end in the task that began them."""
    with listener:
        async with app.lifespan():
            await server.serve(sockets=[listener])


def _config(app: Litestar, stop_seconds_max: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        backlog=BACKLOG,
        date_header=True,
        http=BoundedRequests,
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=stop_seconds_max,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws=BoundedWebSocket,
        ws_max_size=WEBSOCKET_BYTES_MAX,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"HTTP can't listen on {host}:{port}: {error.strerror}") from error
    # Accepted connections inherit it. asyncio sets it only on sockets that name TCP as their protocol, which this one
    # doesn't; without it the second write of an answer waits 40 ms for the peer's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            await serving  # raises what it died of
            raise RuntimeError("the HTTP server ended before it started")
        await asyncio.sleep(0.005)


async def _stop(server: uvicorn.Server, serving: asyncio.Task[None], stop_seconds_max: int) -> None:
    """Wait for the graceful end, cut what is still open after it, and raise what the lifespan's end raised."""
    await asyncio.wait([serving], timeout=stop_seconds_max + CLOSE_SECONDS_MAX)
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    if not serving.done():
        serving.cancel()
    tasks = [serving, *server.server_state.tasks]
    await asyncio.wait(tasks, timeout=CLOSE_SECONDS_MAX)
    if serving.done() and not serving.cancelled():
        serving.result()
