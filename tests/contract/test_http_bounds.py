"""Requests that are too slow, too long or read differently by different servers: on real sockets, byte by byte."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from litestar import Request, get, post
from litestar.params import JSONBody
from litestar.response import Stream
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_auth import PUBLIC
from services.runtime.http_bounds import HEAD_BYTES_MAX, PIPELINE_MAX, BoundedRequests
from services.runtime.http_server import serving_http
from tests.support.waiting import eventually

ENDED_SECONDS_MAX = 60.0
"""How long the end of a connection may take to come on a busy machine."""

PIECE_BYTES = 64 * 1024
"""1,024 of them fit into no buffer on the way."""

received: list[dict[str, int]] = []

sent_all = asyncio.Event()

held: list[asyncio.Future[int]] = []
"""Requests that wait for the test's answer."""

ended: list[str] = []
"""Answers without an end that ended."""


@post("/take", opt=PUBLIC, status_code=200)
async def take(data: JSONBody[dict[str, int]]) -> dict[str, int]:
    received.append(data)
    return data


@post("/whence", opt=PUBLIC, status_code=200)
async def whence(request: Request[Any, Any, Any]) -> list[str]:
    return request.headers.getall("x-forwarded-for")


@get("/long", opt=PUBLIC)
async def long() -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1024):
            yield bytes(PIECE_BYTES)
        sent_all.set()

    return Stream(pieces())


@get("/held", opt=PUBLIC)
async def hold() -> int:
    held.append(asyncio.get_running_loop().create_future())
    return await held[-1]


@get("/endless", opt=PUBLIC)
async def endless() -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0.01)
        finally:
            ended.append("endless")

    return Stream(pieces())


@pytest_asyncio.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    received.clear()
    sent_all.clear()
    held.clear()
    ended.clear()
    monkeypatch.setattr(BoundedRequests, "head_seconds_max", 1.0)
    monkeypatch.setattr(BoundedRequests, "body_seconds_max", 1.0)
    monkeypatch.setattr(BoundedRequests, "unread_seconds_max", 1.0)
    routes = [take, whence, long, hold, endless]
    app = create_http_app(title="Bounds", route_handlers=routes, verifier=None, health=Health())
    async with serving_http(app, "127.0.0.1", 0) as url:
        yield int(url.rpartition(":")[2])


async def answer_to(port: int, sent: bytes) -> bytes:
    """Send bytes, keep the connection, and return all that comes until the server ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(ENDED_SECONDS_MAX):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def a_request(*headers: bytes, body: bytes = b"") -> bytes:
    lines = [b"POST /take HTTP/1.1", b"host: x", b"content-type: application/json", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


BODY = b'{"a": 1}'

CLOSING = b"connection: close"

SMUGGLED = a_request(b"content-length: 11", CLOSING, body=b'{"evil": 1}')
"""A whole request, for whoever takes what is before it for another length."""


async def test_a_request_in_time_and_of_a_sane_size_is_answered(port: int) -> None:
    answer = await answer_to(port, a_request(b"content-length: 8", CLOSING, b"x-long: " + b"x" * 20_000, body=BODY))

    assert answer.startswith(b"HTTP/1.1 200")
    assert received == [{"a": 1}]


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /ta", b"POST /take HTTP/1.1\r\nhost: x\r\nx-slow: ", a_request(b"content-length: 8", body=b'{"a')],
    ids=["nothing", "a line's begin", "headers without an end", "half a body"],
)
async def test_who_sends_too_slowly_is_cut_off(port: int, sent: bytes) -> None:
    answer = await answer_to(port, sent)

    assert not answer.startswith(b"HTTP/1.1 2")
    assert received == []


async def test_who_does_not_read_keeps_no_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as reader:
        reader.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n")

        async with asyncio.timeout(ENDED_SECONDS_MAX):
            await sent_all.wait()


async def test_who_reads_all_the_time_gets_a_long_answer_whole(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedRequests, "unread_seconds_max", 5.0)

    answer = await answer_to(port, b"GET /long HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")

    assert answer.count(bytes(PIECE_BYTES)) >= 1024


async def test_an_idle_connection_is_kept_after_its_answer(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(a_request(b"content-length: 8", body=BODY))
        async with asyncio.timeout(ENDED_SECONDS_MAX):
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(BoundedRequests.head_seconds_max * 1.5)
    writer.close()

    assert len(received) == 2


A_HELD_REQUEST = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n"


def requests_alive() -> int:
    return sum(isinstance(thing, RequestResponseCycle) for thing in gc.get_objects())


async def test_requests_that_come_before_the_answers_of_others_are_answered_in_order(port: int) -> None:
    sent = [a_request(b"content-length: 10", body=b'{"a": %3d}' % number) for number in range(PIPELINE_MAX)]

    answer = await answer_to(port, b"".join(sent) + a_request(b"content-length: 10", CLOSING, body=b'{"a": 999}'))

    assert answer.count(b"HTTP/1.1 200") == PIPELINE_MAX + 1
    assert received == [*({"a": number} for number in range(PIPELINE_MAX)), {"a": 999}]
    places = [answer.index(b'{"a":%d}' % number) for number in (*range(PIPELINE_MAX), 999)]
    assert places == sorted(places)


async def test_requests_without_end_before_the_first_ones_answer_end_the_connection_and_leave_nothing(
    port: int,
) -> None:
    gc.collect()
    gc.disable()
    try:
        alive = requests_alive()

        answer = await answer_to(port, A_HELD_REQUEST * 5_000)
        held[0].set_result(1)

        assert answer == b""
        await eventually(lambda: requests_alive() <= alive)
        assert len(held) == 1
    finally:
        gc.enable()


async def test_more_requests_are_read_once_those_before_them_are_answered(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(A_HELD_REQUEST * (PIPELINE_MAX + 1))
    for number in range(PIPELINE_MAX + 6):
        await eventually(lambda: len(held) > number)  # noqa: B023 - it is called in this round
        held[number].set_result(number)
        async with asyncio.timeout(ENDED_SECONDS_MAX):
            assert (await reader.readuntil(b"\r\n\r\n%d" % number)).startswith(b"HTTP/1.1 200")
        if number == 0:
            writer.write(A_HELD_REQUEST * 5)
            await asyncio.sleep(0.2)  # they would be read by now
    writer.close()


async def test_an_answer_without_end_ends_with_its_client_also_before_a_request_that_waits(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n" + A_HELD_REQUEST)
    async with asyncio.timeout(ENDED_SECONDS_MAX):
        await reader.readuntil(b"tick")
    writer.transport.abort()

    await eventually(lambda: ended == ["endless"])


async def test_no_websocket_begins_behind_a_request_without_an_answer(port: int) -> None:
    upgrade = (
        b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    answer = await answer_to(port, A_HELD_REQUEST + upgrade)
    held[0].set_result(1)

    assert answer == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * HEAD_BYTES_MAX + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        a_request(b"x-long: " + b"x" * HEAD_BYTES_MAX),
        a_request(*(b"x-%d: %s" % (number, b"x" * 1000) for number in range(40))),
        b"GET / HTTP/1.1\r\nx-endless: " + b"x" * 300_000,
    ],
    ids=["a long path", "a long header", "many headers", "a header without an end"],
)
async def test_headers_that_are_too_long_are_refused(port: int, sent: bytes) -> None:
    answer = await answer_to(port, sent)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


async def test_a_trailer_is_no_header(port: int) -> None:
    sent = b"POST /whence HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.1\r\ntransfer-encoding: chunked\r\n"

    answer = await answer_to(port, sent + CLOSING + b"\r\n\r\n0\r\nx-forwarded-for: 192.0.2.99\r\n\r\n")

    assert answer.endswith(b'["192.0.2.1"]')


@pytest.mark.parametrize("trailer", [b"x-endless: ", b"x: y\r\n"], ids=["a trailer without an end", "many trailers"])
async def test_trailers_have_an_end_too(port: int, monkeypatch: pytest.MonkeyPatch, trailer: bytes) -> None:
    monkeypatch.setattr(BoundedRequests, "body_seconds_max", 600.0)
    sent = a_request(b"transfer-encoding: chunked", body=b"8\r\n" + BODY + b"\r\n0\r\n")

    async with asyncio.timeout(20):
        answer = await answer_to(port, sent + trailer + trailer * (HEAD_BYTES_MAX * 10))

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert received == []


@pytest.mark.parametrize(
    "sent",
    [
        a_request(b"content-length: 8", b"content-length: 3", body=BODY),
        a_request(b"content-length: 8", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
        a_request(b"transfer-encoding: chunked, identity", body=b"8\r\n" + BODY + b"\r\n0\r\n\r\n"),
        a_request(b"transfer-encoding : chunked", body=b"0\r\n\r\n"),
        a_request(b"content-length: +8", body=BODY),
        a_request(b"content-length: 8", b"x: y\r\n folded", body=BODY),
        a_request(b"x\x00y: 1", b"content-length: 8", body=BODY),
        b"POST /take HTTP/1.1\nhost: x\ncontent-length: 8\n\n" + BODY,
    ],
    ids=[
        "two lengths",
        "a length and chunks",
        "chunks that aren't last",
        "a space before the colon",
        "a signed length",
        "a folded header",
        "a NUL in a name",
        "bare line feeds",
    ],
)
async def test_a_request_that_servers_read_differently_reaches_nobody(port: int, sent: bytes) -> None:
    await answer_to(port, sent + SMUGGLED)

    assert received == []


async def test_what_follows_a_request_that_servers_read_alike_is_taken(port: int) -> None:
    await answer_to(port, a_request(b"content-length: 8", body=BODY) + SMUGGLED)

    assert received == [{"a": 1}, {"evil": 1}]
