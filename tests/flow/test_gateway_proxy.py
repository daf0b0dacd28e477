"""What passes through the proxy, what doesn't, and what callers hear when a service fails."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateway_world import GatewayWorld, gateway_world
from tests.support.http_upstream import Received, answering
from tests.support.waiting import eventually
from tradeflow.orders.v1 import identity_service_pb2 as identity

MIB = 1024 * 1024

NOBODY = "0198c0de-0000-7000-8000-000000000001"


async def raw(world: GatewayWorld, text: bytes) -> bytes:
    """Send bytes to the gateway and read until it closes."""
    url = httpx.URL(world.gateway.http_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(text)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_request_reaches_its_service_as_it_was_sent(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.orders_http.answer = answering(
            201, b'{"order_id": "1"}', headers=(("Content-Type", "application/json"), ("Idempotency-Replayed", "true"))
        )
        answer = await world.http.post(
            "/api/v1/orders?x=%2B1&y=a+b",
            headers={**world.bearer(), "Idempotency-Key": "k-1", "X-Own": "1"},
            content=b'{"lines": []}',
        )
        received = world.orders_http.last

    assert (answer.status_code, answer.json()) == (201, {"order_id": "1"})
    assert answer.headers["idempotency-replayed"] == "true"
    assert (received.method, received.target) == ("POST", "/api/v1/orders?x=%2B1&y=a+b")
    assert received.body == b'{"lines": []}'
    assert received.header("idempotency-key") == "k-1"
    assert received.header("authorization") == world_bearer(answer)
    assert received.header("x-own") == "1"


def world_bearer(answer: httpx.Response) -> str:
    return str(answer.request.headers["authorization"])


async def test_a_service_is_told_how_long_the_gateway_waits_and_callers_have_no_say_in_it(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, upstream_seconds_max=5.0) as world:
        headers = {**world.bearer(), "X-Request-Timeout-Ms": "86400000"}
        answer = await world.http.get("/api/v1/orders", headers=headers)
        at_once = await world.http.get("/healthz", headers={"X-Request-Timeout-Ms": "0"})

    told_ms = world.orders_http.last.header("x-request-timeout-ms")
    assert (answer.status_code, at_once.status_code) == (200, 200)
    assert told_ms is not None
    assert 0 < int(told_ms) < 5_000


async def test_each_path_leads_to_its_service(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        for path in ("/api/v1/orders", "/api/v1/orders/1/refunds", "/api/v1/products", "/api/v1/products/a.b@c:d+e-f"):
            await world.http.get(path, headers=world.bearer())
        of_wallet = [
            "/api/v1/wallet/balance?currency=EUR&at=2026-01-31T23:00:00Z",
            "/api/v1/wallet/statement?currency=EUR&kind=deposit&kind=refund&direction=in&order=newest_first",
            "/api/v1/wallet/accounts",
            "/api/v1/wallet/holds/1",
            "/api/v1/wallet/records/7",
        ]
        for path in of_wallet:
            await world.http.get(path, headers=world.bearer())
        await world.http.post("/api/v1/wallet/withdrawals", headers=world.bearer(), json={})
        unknown = await world.http.get("/api/v1/wallets/1/deposits", headers=world.bearer())

        assert [received.target for received in world.orders_http.received] == [
            "/api/v1/orders",
            "/api/v1/orders/1/refunds",
            "/api/v1/products",
            "/api/v1/products/a.b@c:d+e-f",
        ]
        assert [received.target for received in world.ledger_http.received] == [
            *of_wallet,
            "/api/v1/wallet/withdrawals",
        ]
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "route_not_found")


async def test_headers_of_one_connection_end_at_the_gateway_both_ways(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.orders_http.answer = answering(
            headers=(
                ("Content-Type", "application/json"),
                ("Keep-Alive", "timeout=1"),
                ("Proxy-Authenticate", "Basic"),
                ("X-Inner", "secret"),
                ("Connection", "X-Inner"),
                ("Server", "orders/1"),
                ("X-Kept", "yes"),
            )
        )
        answer = await world.http.get(
            "/api/v1/orders",
            headers={
                **world.bearer(),
                "Connection": "keep-alive, X-Named",
                "X-Named": "1",
                "Keep-Alive": "timeout=5",
                "TE": "trailers",
                "Proxy-Authorization": "Basic eA==",
                "Proxy-Connection": "keep-alive",
                "Upgrade": "h2c",
                "X-Kept": "1",
            },
        )
        names = {name for name, _ in world.orders_http.last.headers}

    assert not names & {"x-named", "keep-alive", "te", "proxy-authorization", "proxy-connection", "upgrade"}
    assert "x-kept" in names
    assert not set(answer.headers) & {"x-inner", "keep-alive", "proxy-authenticate", "server"}
    assert answer.headers["x-kept"] == "yes"


async def test_a_caller_does_not_choose_what_a_service_believes_of_it(tmp_path: Path) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with gateway_world(tmp_path) as world:
        await world.http.get(
            "/api/v1/orders",
            headers={
                **world.bearer(),
                "X-Forwarded-For": "10.0.0.1",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "evil.test",
                "Forwarded": "for=10.0.0.1",
                "X-Real-Ip": "10.0.0.1",
                "traceparent": parent,
            },
        )
        received = world.orders_http.last

    assert received.header("x-forwarded-for") == "127.0.0.1"
    assert received.header("x-forwarded-proto") == "http"
    assert received.header("x-forwarded-host") == world.gateway.http_url.removeprefix("http://")
    assert received.header("forwarded") is None
    assert received.header("x-real-ip") is None
    traceparent = received.header("traceparent") or ""
    assert traceparent.split("-")[1] == parent.split("-")[1]
    assert traceparent != parent


async def test_a_request_without_a_trace_gets_one(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.http.get("/api/v1/orders", headers={**world.bearer(), "traceparent": "nonsense"})

        assert len(world.orders_http.last.header("traceparent") or "") == 55


@pytest.mark.parametrize(
    "path", ["/api/v1/orders/../wallets", "/api/v1/orders/%2e%2e/x", "/api/v1/products/a%2Fb", "/api/v1/orders/a%5Cb"]
)
async def test_a_path_that_servers_read_differently_is_refused(tmp_path: Path, path: str) -> None:
    async with gateway_world(tmp_path) as world:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.token()}\r\nConnection: close\r\n\r\n"
        answer = await raw(world, head.encode())

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"path_malformed" in answer
        assert world.orders_http.received == []


@pytest.mark.parametrize(
    ("target", "header", "complaint"),
    [
        (b"/api/v1/orders/\xff", b"k", b"Invalid HTTP request"),
        (b"/api/v1/orders?cursor=\xc3\xa9", b"k", b"Invalid HTTP request"),
        (b"/api/v1/orders", b"k-\xe9", b"header_malformed"),
    ],
)
async def test_bytes_that_could_not_be_passed_on_as_they_are_are_refused(
    tmp_path: Path, target: bytes, header: bytes, complaint: bytes
) -> None:
    async with gateway_world(tmp_path) as world:
        lines = [b"GET " + target + b" HTTP/1.1", b"Host: x", b"Idempotency-Key: " + header, b"Connection: close"]
        token = b"Authorization: Bearer " + world.token().encode()
        answer = await raw(world, b"\r\n".join([*lines, token, b"", b""]))

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert complaint in answer
        assert world.orders_http.received == []


async def test_a_header_in_utf_8_passes_byte_by_byte(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        headers: list[tuple[bytes, bytes]] = [(b"x-note", "Größe".encode())]
        headers += [(name.encode(), value.encode()) for name, value in world.bearer().items()]
        await world.http.get("/api/v1/orders", headers=headers)

        assert (world.orders_http.last.header("x-note") or "").encode("latin-1") == "Größe".encode()


async def test_nothing_is_added_to_a_request(tmp_path: Path) -> None:
    ours = {"host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "traceparent", "x-request-timeout-ms"}
    async with gateway_world(tmp_path) as world:
        lines = ["POST /api/v1/orders HTTP/1.1", "Host: x", "Content-Length: 2", "Connection: close"]
        await raw(world, "\r\n".join([*lines, f"Authorization: Bearer {world.token()}", "", "{}"]).encode())

        assert {name for name, _ in world.orders_http.last.headers} - ours == {"authorization", "content-length"}


async def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answer = await world.http.post("/api/v1/orders", headers=world.bearer(), content=b"x" * (MIB + 1))
        fits = await world.http.post("/api/v1/orders", headers=world.bearer(), content=b"x" * MIB)

        assert (answer.status_code, answer.json()["reason"]) == (413, "body_too_large")
        assert fits.status_code == 200
        assert [len(received.body) for received in world.orders_http.received] == [MIB]


async def test_a_body_of_unknown_length_is_cut_at_the_limit(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * (MIB // 16)

    async with gateway_world(tmp_path) as world:
        answer = await world.http.post("/api/v1/orders", headers=world.bearer(), content=pieces())

        assert (answer.status_code, answer.json()["reason"]) == (413, "body_too_large")
        await eventually(lambda: world.orders_http.broken_off == 1)
        assert world.orders_http.received == []


async def test_a_chunked_body_passes(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with gateway_world(tmp_path) as world:
        await world.http.post("/api/v1/orders", headers=world.bearer(), content=pieces())

        assert world.orders_http.last.body == b"one two"


async def test_an_answer_streams_as_it_comes(tmp_path: Path) -> None:
    second_may_come = asyncio.Event()

    async def slowly(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        await second_may_come.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    async with gateway_world(tmp_path) as world:
        world.orders_http.answer = slowly
        async with world.http.stream("GET", "/api/v1/orders", headers=world.bearer()) as answer:
            pieces = answer.aiter_bytes()
            first = await anext(pieces)
            second_may_come.set()
            rest = b"".join([piece async for piece in pieces])

    assert (first, rest) == (b"first", b"second")


async def test_a_compressed_answer_stays_as_it_is(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a": 1}')
    async with gateway_world(tmp_path) as world:
        world.orders_http.answer = answering(body=packed, headers=(("Content-Encoding", "gzip"),))
        async with world.http.stream("GET", "/api/v1/orders", headers=world.bearer()) as answer:
            received = b"".join([piece async for piece in answer.aiter_raw()])

    assert received == packed


async def test_a_problem_of_a_service_comes_through_unchanged(tmp_path: Path) -> None:
    problem = b'{"type": "urn:tradeflow:problem:insufficient_funds", "reason": "insufficient_funds"}'
    async with gateway_world(tmp_path) as world:
        world.orders_http.answer = answering(422, problem, headers=(("Content-Type", "application/problem+json"),))

        answer = await world.http.post("/api/v1/orders", headers=world.bearer(), json={})

    assert (answer.status_code, answer.content) == (422, problem)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("said", "passed_on"), [((), "no-store"), ((("Cache-Control", "max-age=9"),), "max-age=9")])
async def test_no_cache_keeps_an_answer_unless_its_service_says_so(
    tmp_path: Path, said: tuple[tuple[str, str], ...], passed_on: str
) -> None:
    async with gateway_world(tmp_path) as world:
        world.ledger_http.answer = answering(200, b"{}", headers=said)

        answer = await world.http.get("/api/v1/wallet/balance", headers=world.bearer())

    assert answer.headers.get_list("cache-control") == [passed_on]


async def test_a_service_that_is_down_is_a_503_with_a_time_to_come_back(tmp_path: Path) -> None:
    with socket.socket() as held:
        # Bound, so that nobody else gets the port, and not listened at, so that whoever connects is refused.
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        async with gateway_world(tmp_path, orders_http_url=url) as world:
            answer = await world.http.post("/api/v1/orders", headers=world.bearer(), json={})

    assert (answer.status_code, answer.json()["reason"]) == (503, "upstream_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_service_that_takes_too_long_is_a_504(tmp_path: Path) -> None:
    async def never(_received: Received, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)

    async with gateway_world(tmp_path, upstream_seconds_max=0.2) as world:
        world.orders_http.answer = never
        answer = await world.http.get("/api/v1/orders", headers=world.bearer())

        assert (answer.status_code, answer.json()["reason"]) == (504, "upstream_timeout")
        assert len(world.orders_http.received) == 1


async def hang_up(_received: Received, _writer: asyncio.StreamWriter) -> None:
    """Close without a word."""


async def test_a_broken_post_is_not_sent_again_and_a_broken_get_is_once(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.orders_http.answer = hang_up
        posted = await world.http.post("/api/v1/orders", headers=world.bearer(), json={})
        assert len(world.orders_http.received) == 1

        got = await world.http.get("/api/v1/orders", headers=world.bearer())
        assert len(world.orders_http.received) == 3

    assert (posted.status_code, posted.json()["reason"]) == (503, "upstream_unavailable")
    assert got.status_code == 503


async def test_an_answer_that_breaks_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    async def half(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    async with gateway_world(tmp_path) as world:
        world.orders_http.answer = half
        with pytest.raises(httpx.RemoteProtocolError):
            await world.http.get("/api/v1/orders", headers=world.bearer())


async def test_a_deposit_by_address_reaches_the_wallet_with_the_callers_token_and_key(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        user = world.identity.add_user("anne@example.org", identity.ROLE_BUYER)
        world.ledger_http.answer = answering(201, b'{"replayed": false}')
        token = world.token("treasurer", roles=("treasury",))
        answer = await world.http.post(
            "/api/v1/wallet/deposits",
            headers={**world.bearer(token), "Idempotency-Key": "d-1"},
            json={"email": "anne@example.org", "amount": {"amount_minor": 500, "currency": "EUR"}, "note": "cash"},
        )
        received = world.ledger_http.last

    created_at = user.created_at.ToJsonString()
    told = {"user_id": user.user_id, "email": "anne@example.org", "user_created_at": created_at}
    assert (answer.status_code, answer.json()) == (201, {"replayed": False, **told})
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert (received.method, received.target) == ("POST", f"/api/v1/wallets/{user.user_id}/deposits")
    assert received.body == b'{"amount":{"amount_minor":500,"currency":"EUR"},"note":"cash"}'
    assert received.header("authorization") == f"Bearer {token}"
    assert received.header("idempotency-key") == "d-1"
    assert received.header("traceparent")


async def test_a_deposit_by_user_reaches_the_same_wallet(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        user = world.identity.add_user("anne@example.org", identity.ROLE_BUYER)
        world.ledger_http.answer = answering(200, b'{"dry_run": true}')
        headers = {**world.bearer(world.token(roles=("treasury",))), "Idempotency-Key": "d-1"}
        body = {"user_id": user.user_id, "amount": {"amount_minor": 500, "currency": "EUR"}, "dry_run": True}
        answer = await world.http.post("/api/v1/wallet/deposits", headers=headers, json=body)
        received = world.ledger_http.last

    assert (answer.status_code, answer.json()["email"], answer.json()["dry_run"]) == (200, "anne@example.org", True)
    assert received.target == f"/api/v1/wallets/{user.user_id}/deposits"
    assert received.body == b'{"amount":{"amount_minor":500,"currency":"EUR"},"dry_run":true}'


async def test_a_refused_deposit_is_told_in_the_ledgers_words_alone(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.identity.add_user("anne@example.org", identity.ROLE_BUYER)
        world.ledger_http.answer = answering(422, b'{"reason": "idempotency_key_reused"}')
        headers = {**world.bearer(world.token(roles=("treasury",))), "Idempotency-Key": "d-1"}
        body = {"email": "anne@example.org", "amount": {"amount_minor": 500, "currency": "EUR"}}
        answer = await world.http.post("/api/v1/wallet/deposits", headers=headers, json=body)

    assert (answer.status_code, answer.json()) == (422, {"reason": "idempotency_key_reused"})


@pytest.mark.parametrize(
    ("roles", "key", "body", "status", "reason"),
    [
        (("treasury",), "k", {}, 400, "invalid_recipient"),
        (("treasury",), "k", {"email": "anne@example.org", "user_id": NOBODY}, 400, "invalid_recipient"),
        (("treasury",), "k", {"user_id": NOBODY}, 404, "user_not_found"),
        (("treasury",), "k", {"user_id": "anne"}, 400, "validation_failed"),
        (("buyer",), "k", {"email": "anne@example.org"}, 403, "role_required"),
        (("treasury",), None, {"email": "anne@example.org"}, 400, "idempotency_key_missing"),
        (("treasury",), "k", {"email": "nobody@example.org"}, 404, "user_not_found"),
        (("treasury",), "k", {"email": "anne@example.org", "wallet_id": "1"}, 400, "validation_failed"),
        (("treasury",), "k", {"email": "anne@example.org", "amount": {"amount_minor": 1.5}}, 400, "validation_failed"),
    ],
)
async def test_a_deposit_that_can_not_be_right_never_reaches_the_ledger(
    tmp_path: Path, roles: tuple[str, ...], key: str | None, body: dict[str, object], status: int, reason: str
) -> None:
    async with gateway_world(tmp_path) as world:
        world.identity.add_user("anne@example.org", identity.ROLE_BUYER)
        headers = {**world.bearer(world.token(roles=roles)), **({"Idempotency-Key": key} if key else {})}
        amount = {"amount": {"amount_minor": 500, "currency": "EUR"}}

        answer = await world.http.post("/api/v1/wallet/deposits", headers=headers, json={**amount, **body})

        assert (answer.status_code, answer.json()["reason"]) == (status, reason)
        assert world.ledger_http.received == []


async def test_one_document_describes_the_gateways_own_routes_and_the_proxied_ones(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        document = (await world.http.get("/schema")).json()

    operations = {
        operation["operationId"]: operation
        for path_item in document["paths"].values()
        for operation in path_item.values()
    }
    assert {"login", "issueTicket", "placeOrder", "getBalance", "deposit", "refundOrder"} <= set(operations)
    place_order = operations["placeOrder"]
    assert place_order["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/PlaceOrder")
    assert [parameter["name"] for parameter in place_order["parameters"]] == ["Idempotency-Key"]
    assert place_order["security"] == [{"bearer": []}]
    assert "insufficient_funds" in place_order["responses"]["422"]["description"]
    assert references_of(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def references_of(part: object) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*(references_of(value) for value in part.values()))
    if isinstance(part, list):
        return set().union(*(references_of(value) for value in part))
    return set()
