"""HTTP servers begin and end in the running event loop: several at once, any port, in order and in time."""

import asyncio
import signal
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets
from litestar import Litestar, WebSocket, get, websocket
from litestar.response import ServerSentEvent
from litestar.types import ControllerRouterHandler

from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_auth import PUBLIC
from services.runtime.http_server import serving_http

STOP_SECONDS_MAX = 8.0
"""What stopping takes at most here, however the connections behave."""


@get("/", opt=PUBLIC)
async def answer() -> str:
    return "here"


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    while True:
        await socket.send_text(await socket.receive_text())


@websocket("/deaf")
async def deaf(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text("connected")
    await asyncio.Event().wait()


@websocket("/refusing")
async def refusing(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.receive()
    await socket.send({"type": "websocket.http.response.start", "status": 503, "headers": []})
    await socket.send({"type": "websocket.http.response.body", "body": b"not now", "more_body": False})


@get("/events")
async def events() -> ServerSentEvent:
    async def endless() -> AsyncIterator[str]:
        while True:
            yield "tick"
            await asyncio.sleep(0.01)

    return ServerSentEvent(endless())


def an_app(*more: ControllerRouterHandler, **options: Any) -> Litestar:
    routes = [answer, echo, deaf, events, *more]
    return create_http_app(title="Test", route_handlers=routes, verifier=None, health=Health(), **options)


def websocket_address(url: str, path: str) -> str:
    return url.replace("http://", "ws://") + path


async def test_several_servers_live_in_one_loop() -> None:
    async with (
        serving_http(an_app(), "127.0.0.1", 0) as first,
        serving_http(an_app(), "127.0.0.1", 0) as second,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert first != second
        for url in (first, second):
            assert (await client.get(f"{url}/")).text == "here"


async def test_a_stopped_server_answers_no_more() -> None:
    async with serving_http(an_app(), "127.0.0.1", 0) as url:
        pass

    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


async def test_the_processs_signals_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async with serving_http(an_app(), "127.0.0.1", 0):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            async with serving_http(an_app(), "127.0.0.1", port):
                pass


async def test_the_lifespan_is_entered_first_and_left_last() -> None:
    story: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        story.append("entered")
        yield
        story.append("left")

    async with serving_http(an_app(lifespan=[lifespan]), "127.0.0.1", 0):
        story.append("served")

    assert story == ["entered", "served", "left"]


async def test_a_lifespan_that_fails_to_begin_is_the_servers_failure() -> None:
    async def fail() -> None:
        raise LookupError("no database")

    with pytest.raises((LookupError, ExceptionGroup)) as failed:
        async with serving_http(an_app(on_startup=[fail]), "127.0.0.1", 0):
            raise AssertionError("it serves")

    assert "no database" in "".join(traceback.format_exception(failed.value))


async def test_a_lifespan_that_fails_to_end_is_the_servers_failure() -> None:
    async def fail() -> None:
        raise LookupError("the disk is full")

    with pytest.raises((LookupError, ExceptionGroup)) as failed:
        async with serving_http(an_app(on_shutdown=[fail]), "127.0.0.1", 0):
            pass

    assert "the disk is full" in "".join(traceback.format_exception(failed.value))


async def test_the_bodys_own_error_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        async with serving_http(an_app(), "127.0.0.1", 0):
            raise ZeroDivisionError


async def test_a_context_may_be_left_by_another_task() -> None:
    serving = serving_http(an_app(), "127.0.0.1", 0)

    await asyncio.create_task(serving.__aenter__())

    assert await serving.__aexit__(None, None, None) in (None, False)


async def test_a_request_under_way_may_finish() -> None:
    began, release = asyncio.Event(), asyncio.Event()

    @get("/slow")
    async def slow() -> str:
        began.set()
        await release.wait()
        return "finished"

    async with httpx.AsyncClient(trust_env=False) as client:
        async with serving_http(an_app(slow), "127.0.0.1", 0) as url:
            request = asyncio.create_task(client.get(f"{url}/slow"))
            await began.wait()
            asyncio.get_running_loop().call_later(0.3, release.set)

        assert (await request).text == "finished"


async def test_a_refused_websocket_is_no_error_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_http(an_app(refusing), "127.0.0.1", 0) as url:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(websocket_address(url, "/refusing"))

    assert refused.value.response.status_code == 503
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_websocket_carries_messages() -> None:
    async with (
        serving_http(an_app(), "127.0.0.1", 0) as url,
        websockets.connect(websocket_address(url, "/echo")) as connection,
    ):
        await connection.send("hello")

        assert await connection.recv() == "hello"


@pytest.mark.parametrize("path", ["/echo", "/deaf"])
async def test_an_open_websocket_is_closed_with_1012_and_in_time(path: str) -> None:
    async with asyncio.timeout(STOP_SECONDS_MAX):
        async with serving_http(an_app(), "127.0.0.1", 0, stop_seconds_max=1) as url:
            connection = await websockets.connect(websocket_address(url, path))
        await connection.wait_closed()

    assert connection.close_code == 1012


async def test_a_client_that_does_not_answer_the_close_does_not_hold_up_the_stop() -> None:
    async with asyncio.timeout(STOP_SECONDS_MAX):
        async with serving_http(an_app(), "127.0.0.1", 0, stop_seconds_max=1) as url:
            _, port = url.rsplit(":", 1)
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(
                b"GET /echo HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert b"101" in await reader.readline()
        writer.close()


async def test_an_endless_answer_does_not_hold_up_the_stop() -> None:
    async with asyncio.timeout(STOP_SECONDS_MAX), httpx.AsyncClient(trust_env=False) as client:
        async with serving_http(an_app(), "127.0.0.1", 0, stop_seconds_max=1) as url:
            request = client.build_request("GET", f"{url}/events")
            response = await client.send(request, stream=True)
            assert response.status_code == 200
        await response.aclose()


async def test_an_idle_connection_does_not_hold_up_the_stop() -> None:
    async with (
        asyncio.timeout(STOP_SECONDS_MAX),
        httpx.AsyncClient(trust_env=False) as client,
        serving_http(an_app(), "127.0.0.1", 0) as url,
    ):
        await client.get(f"{url}/")
