"""What every HTTP service of ours does, seen by a client: tokens, roles, health, metrics, traces, description."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import websockets
from litestar import Router, WebSocket, get, post, websocket
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from services.runtime.errors import UnavailableError
from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_auth import PUBLIC, Caller, require_roles
from services.runtime.http_server import serving_http
from services.runtime.idempotency import IdempotencyKey
from services.runtime.jwks import JwksClient
from services.runtime.jwt import JwtVerifier
from services.runtime.metrics import new_registry
from services.runtime.span_export import recording_spans
from services.runtime.tracing import current_traceparent
from tests.support.clock import VirtualClock
from tests.support.issuer import Issuer, running_issuer
from tests.support.span_collector import collecting_spans


class NoteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wrote."""

    text: str
    """The words."""


@get("/me")
async def me(principal: Caller) -> dict[str, Any]:
    """Say who calls."""
    return {"subject": principal.subject, "roles": sorted(principal.roles)}


@post("/notes", guards=[require_roles("merchant", "operator")], operation_id="writeNote")
async def write_note(data: JSONBody[NoteBody], idempotency_key: IdempotencyKey) -> NoteBody:
    """Write a note."""
    return data


@get("/open", opt=PUBLIC)
async def open_to_all() -> str:
    """Answer everyone."""
    return "open"


@get("/open/me", opt=PUBLIC)
async def open_but_curious(principal: Caller) -> str:
    """Ask who calls where nobody was asked."""
    return principal.subject


@get("/inside")
async def inside() -> str:
    """Stand in a public room."""
    return "inside"


@get("/items/{item_id:str}", opt=PUBLIC)
async def item(item_id: FromPath[str]) -> str:
    """Show an item."""
    return item_id


@get("/trace", opt=PUBLIC)
async def trace() -> str:
    """Show the trace."""
    return current_traceparent()


@websocket("/socket")
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    """Greet whoever may connect."""
    await socket.accept()
    await socket.send_text(socket.user.subject)
    await socket.close()


ROUTES: list[ControllerRouterHandler] = [
    me,
    write_note,
    open_to_all,
    open_but_curious,
    item,
    trace,
    socket,
    Router("/public-room", route_handlers=[inside], opt=PUBLIC),
]


class World:
    def __init__(self, issuer: Issuer, clock: VirtualClock, keys: JwksClient) -> None:
        self.issuer = issuer
        self.keys = keys
        self.health = Health()
        self.verifier = JwtVerifier(keys, issuer.issuer, "shop", clock)

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        arguments: dict[str, Any] = {"verifier": self.verifier, "health": self.health, **options}
        app = create_http_app(title="Shop", route_handlers=ROUTES, **arguments)
        async with (
            serving_http(app, "127.0.0.1", 0) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            yield client

    def bearer(self, *roles: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.issuer.user_token('user-1', roles=roles)}"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = VirtualClock()
    async with running_issuer(clock=clock) as issuer:
        keys = JwksClient(issuer.jwks_url, pause_seconds=0)
        yield World(issuer, clock, keys)
        await keys.aclose()


async def test_no_call_goes_through_a_thread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(function: object, *_: object) -> None:
        raise AssertionError(f"{function} would be run in a thread")

    monkeypatch.setattr("litestar.utils.sync.sync_to_thread", refuse)
    headers = {**world.bearer("merchant"), "Idempotency-Key": "1"}
    async with world.client() as client:
        written = await client.post("/notes", json={"text": "a"}, headers=headers)
        seen = await client.get("/me", headers=headers)

    assert (written.status_code, seen.status_code) == (201, 200)


async def test_a_route_asks_for_a_token_unless_it_says_otherwise(world: World) -> None:
    async with world.client() as client:
        assert (await client.get("/me")).status_code == 401
        assert (await client.get("/me", headers=world.bearer("buyer"))).json() == {
            "subject": "user-1",
            "roles": ["buyer"],
        }
        assert (await client.get("/open")).text == "open"
        assert (await client.get("/public-room/inside")).text == "inside"


@pytest.mark.parametrize(
    ("authorization", "reason", "challenge"),
    [
        (None, "token_missing", "Bearer"),
        ("Bearer x", "token_malformed", 'Bearer error="invalid_token"'),
        ("Basic eDp5", "token_malformed", 'Bearer error="invalid_token"'),
    ],
)
async def test_a_refused_token_says_why(world: World, authorization: str | None, reason: str, challenge: str) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with world.client() as client:
        refused = await client.get("/me", headers=headers)

    assert refused.status_code == 401
    assert refused.json()["reason"] == reason
    assert refused.headers["www-authenticate"] == challenge


async def test_a_token_is_checked_before_the_body(world: World) -> None:
    async with world.client() as client:
        refused = await client.post("/notes", content=b"{")

    assert refused.json()["reason"] == "token_missing"


async def test_a_role_is_needed_where_it_is_asked_for(world: World) -> None:
    async with world.client() as client:
        key = {"Idempotency-Key": "1"}
        forbidden = await client.post("/notes", json={"text": "a"}, headers=world.bearer("buyer") | key)
        allowed = await client.post("/notes", json={"text": "a"}, headers=world.bearer("operator") | key)

    assert forbidden.status_code == 403
    assert forbidden.json()["reason"] == "role_required"
    assert forbidden.json()["details"] == {"roles": "merchant operator"}
    assert allowed.status_code == 201


async def test_a_public_route_that_asks_for_its_caller_refuses(world: World) -> None:
    async with world.client() as client:
        assert (await client.get("/open/me", headers=world.bearer("buyer"))).status_code == 401


async def test_when_the_issuer_is_away_the_answer_is_try_again(world: World) -> None:
    headers = world.bearer("buyer")
    unreachable = JwksClient("http://127.0.0.1:1/jwks.json")
    verifier = JwtVerifier(unreachable, world.issuer.issuer, "shop", VirtualClock())

    async with world.client(verifier=verifier) as client:
        answer = await client.get("/me", headers=headers)
    await unreachable.aclose()

    assert answer.status_code == 503
    assert answer.json()["reason"] == "issuer_unavailable"
    assert "retry-after" in answer.headers


async def test_without_a_verifier_nothing_is_protected(world: World) -> None:
    async with world.client(verifier=None) as client:
        assert (await client.get("/public-room/inside")).status_code == 200
        assert (await client.get("/schema/openapi.json")).json()["paths"]["/me"]["get"].get("security") is None


async def test_a_websocket_is_protected_too(world: World) -> None:
    async with world.client() as client:
        address = str(client.base_url).replace("http://", "ws://") + "/socket"
        async with websockets.connect(address, additional_headers=world.bearer("buyer")) as connection:
            assert await connection.recv() == "user-1"
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(address)

    assert refused.value.response.status_code == 403


async def test_health_is_told_to_everyone(world: World) -> None:
    async def is_away() -> None:
        raise UnavailableError("The ledger is away.")

    async with world.client() as client:
        ready = await client.get("/readyz")
        world.health.add("ledger", is_away)
        not_ready = await client.get("/readyz")
        alive = await client.get("/healthz")

    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert (not_ready.status_code, not_ready.json()) == (
        503,
        {"status": "not_ready", "checks": {"ledger": "The ledger is away."}, "hints": {}},
    )
    assert alive.status_code == 200


async def test_a_process_with_a_loop_that_has_ended_is_not_alive(world: World) -> None:
    async with world.client() as client:
        world.health.note_ended("relay")
        dead = await client.get("/healthz")

    assert (dead.status_code, dead.json()) == (503, {"status": "dead", "loops": {"relay": "ended"}})


async def test_requests_are_counted_by_route_and_not_by_path(world: World) -> None:
    registry = new_registry("ledger")

    def count(**labels: str) -> float | None:
        return registry.get_sample_value("tradeflow_http_request_duration_seconds_count", labels)

    async with world.client(registry=registry) as client:
        for item_id in ("a", "b", "c"):
            await client.get(f"/items/{item_id}")
        await client.get("/me")
        await client.get("/nowhere/a")
        await client.get("/nowhere/b")
        await client.request("PROPFIND", "/items/a")
        shown = await client.get("/metrics")

    assert count(method="GET", route="/items/{item_id}", status="200") == 3
    assert count(method="GET", route="/me", status="401") == 1
    assert count(method="GET", route="unmatched", status="404") == 2
    assert count(method="OTHER", route="unmatched", status="405") == 1
    assert 'route="/items/{item_id}"' in shown.text
    assert shown.headers["content-type"].count("charset") == 1


async def test_two_services_in_one_process_count_apart(world: World) -> None:
    async with world.client() as first, world.client() as second:
        await first.get("/open")

        assert 'route="/open"' in (await first.get("/metrics")).text
        assert 'route="/open"' not in (await second.get("/metrics")).text


async def test_a_trace_is_continued_or_begun(world: World) -> None:
    sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with world.client() as client:
        continued = (await client.get("/trace", headers={"traceparent": sent})).text
        begun = (await client.get("/trace", headers={"traceparent": "garbage"})).text
        begun_again = (await client.get("/trace")).text

    assert continued.split("-")[1] == sent.split("-")[1]
    assert continued != sent
    assert len({begun.split("-")[1], begun_again.split("-")[1], sent.split("-")[1]}) == 3


async def test_what_machines_ask_every_few_seconds_is_no_trace(world: World) -> None:
    with collecting_spans() as collector, recording_spans("shop", collector.url) as recorder:
        async with world.client(recorder=recorder) as client:
            for path in ("/healthz", "/readyz", "/metrics", "/open"):
                (await client.get(path)).raise_for_status()

    assert [span["name"].lower() for span in collector.spans] == ["get /open"]


async def test_the_api_describes_itself(world: World) -> None:
    async with world.client() as client:
        description = (await client.get("/schema/openapi.json")).json()
        assert (await client.get("/schema")).json() == description
        assert (await client.get("/schema/openapi.yaml")).status_code == 200

    assert description["info"]["title"] == "Shop"
    assert description["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert not {"/healthz", "/readyz", "/metrics", "/schema"} & set(description["paths"])


async def test_the_description_shows_tokens_problems_and_keys(world: World) -> None:
    async with world.client() as client:
        paths = (await client.get("/schema/openapi.json")).json()["paths"]

    note = paths["/notes"]["post"]
    assert note["operationId"] == "writeNote"
    assert note["security"] == [{"bearer": []}]
    assert {"400", "401", "403", "413", "415", "500", "503"} <= set(note["responses"])
    problem = note["responses"]["400"]["content"]["application/problem+json"]["schema"]
    assert problem == {"$ref": "#/components/schemas/Problem"}
    assert [parameter["name"] for parameter in note["parameters"]] == ["Idempotency-Key"]
    assert "security" not in paths["/open"]["get"]
    assert "401" not in paths["/open"]["get"]["responses"]
    assert "security" not in paths["/public-room/inside"]["get"]


async def test_the_described_body_refuses_unknown_fields(world: World) -> None:
    async with world.client() as client:
        schemas = (await client.get("/schema/openapi.json")).json()["components"]["schemas"]

    assert schemas["NoteBody"]["properties"]["text"]["type"] == "string"
    assert schemas["NoteBody"]["required"] == ["text"]
