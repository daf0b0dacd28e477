"""Everything that can go wrong with a request is an RFC 9457 problem, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Request, Response, get, post
from litestar.di import Provide
from litestar.exceptions import ServiceUnavailableException, TooManyRequestsException
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, URLEncodedBody
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from services.money_json import PositiveMoneyBody
from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentError,
    KeyReusedError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    RejectedError,
    TooLargeError,
    TradeFlowError,
    UnauthenticatedError,
    UnavailableError,
)
from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_errors import PROBLEM_MEDIA_TYPE, problem_of
from services.runtime.http_server import serving_http
from services.runtime.idempotency import IdempotencyKey
from services.runtime.jwt import Principal
from tests.support.waiting import eventually

BODY_BYTES_MAX = 10_000
REGISTRY = CollectorRegistry()


class TransferBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    amount: PositiveMoneyBody
    notes: list[str] = []


class ClientForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    grant_type: str


ERRORS: dict[str, Exception] = {
    "invalid": InvalidArgumentError("No.", reason="some_reason", details={"field": "x"}),
    "unauthenticated": UnauthenticatedError("No."),
    "forbidden": ForbiddenError("No."),
    "not_found": NotFoundError("No.", reason="order_not_found"),
    "conflict": ConflictError("No."),
    "key_reused": KeyReusedError("No."),
    "refused": RefusedError("No.", reason="insufficient_funds", details={"order_id": "7"}),
    "too_large": TooLargeError("No."),
    "rejected": RejectedError("No."),
    "rate_limited": RateLimitedError("Slower.", retry_after_seconds=2.1),
    "unavailable": UnavailableError("Later.", retry_after_seconds=0.2),
    "base": TradeFlowError("hunter2"),
    "bug": ZeroDivisionError("hunter2"),
    "litestar_429": TooManyRequestsException("Slower."),
    "litestar_503": ServiceUnavailableException("Later."),
}


@get("/fails/{name:str}")
async def fail(name: FromPath[str]) -> None:
    raise ERRORS[name]


@post("/transfers")
async def transfer(data: JSONBody[TransferBody]) -> TransferBody:
    return data


@post("/form")
async def form(data: URLEncodedBody[ClientForm]) -> ClientForm:
    return data


@post("/raw")
async def raw(request: Request[Any, Any, Any]) -> int:
    return sum([len(chunk) async for chunk in request.stream()])


@get("/list")
async def list_(limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50, after: FromQuery[str | None] = None) -> int:
    return limit


@get("/numbers/{number:int}")
async def number_(number: FromPath[int]) -> int:
    return number


def somebody() -> Principal:
    """Stand for a caller whose token was verified: a key is a caller's."""
    return Principal(
        subject="somebody",
        roles=frozenset(),
        audience="tradeflow",
        token_id="1",
        expires_at=datetime.now(UTC),
        token="",
    )


@post("/keyed", dependencies={"principal": Provide(somebody, sync_to_thread=False)})
async def keyed(idempotency_key: IdempotencyKey) -> str:
    return idempotency_key


@get("/redirects")
async def redirect() -> Response[None]:
    return Response(None, status_code=304)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    routes = [fail, transfer, form, raw, list_, number_, keyed, redirect]
    app = create_http_app(
        title="Problems",
        route_handlers=routes,
        verifier=None,
        health=Health(),
        registry=REGISTRY,
        body_bytes_max=BODY_BYTES_MAX,
    )
    async with serving_http(app, "127.0.0.1", 0) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


pytestmark = pytest.mark.asyncio(loop_scope="module")

AMOUNT = {"amount_minor": 5, "currency": "EUR"}
JSON = {"Content-Type": "application/json"}


def problem(response: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["reason"] == reason
    assert body["type"] == f"urn:tradeflow:problem:{reason}"
    assert body["title"]
    assert body["detail"]
    assert set(body) <= {"type", "title", "status", "detail", "reason", "details"}
    return body


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("invalid", 400, "some_reason"),
        ("unauthenticated", 401, "unauthenticated"),
        ("forbidden", 403, "forbidden"),
        ("not_found", 404, "order_not_found"),
        ("conflict", 409, "conflict"),
        ("key_reused", 422, "idempotency_key_reused"),
        ("refused", 422, "insufficient_funds"),
        ("too_large", 413, "body_too_large"),
        ("rejected", 400, "rejected"),
        ("rate_limited", 429, "rate_limited"),
        ("unavailable", 503, "unavailable"),
        ("litestar_429", 429, "rate_limited"),
        ("litestar_503", 503, "unavailable"),
    ],
)
async def test_each_error_has_its_status(client: httpx.AsyncClient, name: str, status: int, reason: str) -> None:
    problem(await client.get(f"/fails/{name}"), status, reason)


async def test_details_travel(client: httpx.AsyncClient) -> None:
    body = problem(await client.get("/fails/refused"), 422, "insufficient_funds")

    assert body["details"] == {"order_id": "7"}
    assert body["detail"] == "No."
    assert body["title"] == "Insufficient funds"


async def test_when_to_come_back_is_told_in_whole_seconds(client: httpx.AsyncClient) -> None:
    assert (await client.get("/fails/rate_limited")).headers["retry-after"] == "3"
    assert (await client.get("/fails/unavailable")).headers["retry-after"] == "1"


async def test_a_challenge_comes_with_401(client: httpx.AsyncClient) -> None:
    assert (await client.get("/fails/unauthenticated")).headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", ["bug", "base"])
async def test_a_bug_is_logged_and_not_shown(client: httpx.AsyncClient, name: str) -> None:
    with capture_logs() as logs:
        response = await client.get(f"/fails/{name}")

    body = problem(response, 500, "internal_error")
    assert "hunter2" not in response.text
    assert len(body["details"]["trace_id"]) == 32
    assert [log["event"] for log in logs if log["log_level"] != "debug"] == ["request_failed"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_path_that_leads_nowhere(client: httpx.AsyncClient, method: str) -> None:
    problem(await client.request(method, "/nowhere"), 404, "route_not_found")


async def test_a_path_parameter_of_another_type_leads_nowhere(client: httpx.AsyncClient) -> None:
    problem(await client.get("/numbers/seven"), 404, "route_not_found")


async def test_a_method_that_the_route_does_not_answer_to(client: httpx.AsyncClient) -> None:
    response = await client.put("/transfers", json={})

    problem(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == {"POST", "OPTIONS"}


async def test_a_good_body_passes(client: httpx.AsyncClient) -> None:
    response = await client.post("/transfers", json={"amount": AMOUNT, "notes": ["é"]})

    assert response.status_code == 201
    assert response.json() == {"amount": AMOUNT, "notes": ["é"]}


async def test_json_by_another_name_passes(client: httpx.AsyncClient) -> None:
    for content_type in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.shop+json"):
        content = json.dumps({"amount": AMOUNT})
        response = await client.post("/transfers", content=content, headers={"Content-Type": content_type})
        assert response.status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": {**AMOUNT, "amount_minor": "5"}}, "amount.amount_minor"),
        ({"amount": {**AMOUNT, "amount_minor": 5.0}}, "amount.amount_minor"),
        ({"amount": {**AMOUNT, "amount_minor": True}}, "amount.amount_minor"),
        ({"amount": {**AMOUNT, "amount_minor": None}}, "amount.amount_minor"),
        ({"amount": {**AMOUNT, "amount_minor": 0}}, "amount.amount_minor"),
        ({"amount": {**AMOUNT, "amount_minor": 2**53}}, "amount.amount_minor"),
        ({"amount": {**AMOUNT, "amount_minor": 10**400}}, "amount.amount_minor"),
        ({"amount": {**AMOUNT, "extra": 1}}, "amount"),
        ({"amount": {"amount_minor": 5}}, "amount"),
        ({"amount": AMOUNT, "notes": ["a", 5]}, "notes[1]"),
        ({"amount": AMOUNT, "extra": 1}, None),
        ({}, None),
        ([], None),
        ("text", None),
        (None, None),
    ],
    ids=range(15),
)
async def test_a_body_of_another_shape_is_refused_with_its_field(
    client: httpx.AsyncClient, body: object, field: str | None
) -> None:
    response = await client.post("/transfers", content=json.dumps(body), headers=JSON)

    told = problem(response, 400, "validation_failed")
    assert told.get("details", {}).get("field") == field


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{'amount': 5}",
        b'{"amount": NaN}',
        b'{"amount": {"amount_minor": 5, "currency": "EUR"}} x',
        b'{"amount": {"amount_minor": 5, "currency": "\xff"}}',
        b'{"amount": {"amount_minor": 5, "currency": "\\ud800"}}',
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
    ids=range(8),
)
async def test_what_is_no_json_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    problem(await client.post("/transfers", content=content, headers=JSON), 400, "malformed_json")


async def test_a_deeply_nested_body_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/transfers", content=b"[" * (BODY_BYTES_MAX - 1), headers=JSON)

    assert response.status_code == 400
    assert response.json()["reason"] in {"malformed_json", "validation_failed"}


async def test_no_body_is_refused(client: httpx.AsyncClient) -> None:
    told = problem(await client.post("/transfers"), 400, "validation_failed")

    assert told["details"] == {"field": "body"}


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/transfers", "text/plain"),
        ("/transfers", "application/x-www-form-urlencoded"),
        ("/transfers", "text/json"),
        ("/transfers", ""),
        ("/form", "application/json"),
        ("/form", "multipart/form-data; boundary=x"),
    ],
)
async def test_another_kind_of_body_is_refused(client: httpx.AsyncClient, path: str, content_type: str) -> None:
    response = await client.post(path, content=b"{}", headers={"Content-Type": content_type})

    problem(response, 415, "unsupported_media_type")


async def test_a_body_without_a_type_is_refused_although_it_is_streamed(client: httpx.AsyncClient) -> None:
    problem(await client.post("/transfers", content=chunks(b"{}")), 415, "unsupported_media_type")


async def test_a_form_is_read_and_a_wrong_one_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/form", data={"grant_type": "x"})).json() == {"grant_type": "x"}
    for data in ({"grant": "x"}, {"grant_type": "x", "extra": "y"}, {}):
        problem(await client.post("/form", data=data), 400, "validation_failed")


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("path", ["/transfers", "/raw"])
async def test_a_body_that_announces_too_much_is_refused(client: httpx.AsyncClient, path: str) -> None:
    content = b" " * (BODY_BYTES_MAX + 1)

    problem(await client.post(path, content=content, headers=JSON), 413, "body_too_large")


@pytest.mark.parametrize("path", ["/transfers", "/raw"])
async def test_a_body_that_streams_too_much_is_refused(client: httpx.AsyncClient, path: str) -> None:
    parts = [b" " * 1000] * (BODY_BYTES_MAX // 1000 + 1)

    problem(await client.post(path, content=chunks(*parts), headers=JSON), 413, "body_too_large")


async def test_a_client_that_leaves_in_the_middle_is_no_bug_of_ours(url: str) -> None:
    def answered() -> float:
        return metric(REGISTRY, route="/transfers", status="400")

    before = answered()
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST /transfers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await eventually(lambda: answered() == before + 1)

    assert [log for log in logs if log["log_level"] != "debug"] == []


def metric(registry: CollectorRegistry, **labels: str) -> float:
    name = "tradeflow_http_request_duration_seconds_count"
    return registry.get_sample_value(name, {"method": "POST", **labels}) or 0.0


async def test_a_body_of_the_largest_size_passes(client: httpx.AsyncClient) -> None:
    response = await client.post("/raw", content=b" " * BODY_BYTES_MAX)

    assert response.json() == BODY_BYTES_MAX


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=1.5", "limit="])
async def test_a_query_parameter_out_of_its_range_is_refused(client: httpx.AsyncClient, query: str) -> None:
    told = problem(await client.get(f"/list?{query}"), 400, "validation_failed")

    assert told["details"] == {"field": "limit"}


async def test_an_idempotency_key_is_given_to_the_handler(client: httpx.AsyncClient) -> None:
    response = await client.post("/keyed", headers={"Idempotency-Key": "abc-1"})

    assert response.text == "abc-1"


async def test_an_idempotency_key_is_required_and_checked(client: httpx.AsyncClient) -> None:
    problem(await client.post("/keyed"), 400, "idempotency_key_missing")
    problem(await client.post("/keyed", headers={"Idempotency-Key": "a b"}), 400, "idempotency_key_malformed")
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem(await client.post("/keyed", headers=twice), 400, "idempotency_key_malformed")


@pytest.mark.parametrize(
    "name", [name for name in ERRORS if name not in {"bug", "base", "rejected", "litestar_429", "litestar_503"}]
)
async def test_a_client_rebuilds_the_error_from_the_problem(client: httpx.AsyncClient, name: str) -> None:
    sent = ERRORS[name]
    assert isinstance(sent, TradeFlowError)

    response = await client.get(f"/fails/{name}")
    received = problem_of(response.status_code, response.content, retry_after=response.headers.get("retry-after"))

    assert type(received) is type(sent)
    assert (received.reason, received.message, received.details) == (sent.reason, sent.message, sent.details)
    if isinstance(received, RateLimitedError):
        assert received.retry_after_seconds == 3


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b'{"reason": 5}', b'{"details": "x"}'])
async def test_an_answer_that_is_no_problem_is_still_an_error(body: bytes) -> None:
    assert type(problem_of(404, body)) is NotFoundError
    assert type(problem_of(502, body)) is UnavailableError
    assert type(problem_of(418, body)) is UnavailableError
    assert problem_of(503, body, retry_after="Wed, 21 Oct 2026 07:28:00 GMT").message
