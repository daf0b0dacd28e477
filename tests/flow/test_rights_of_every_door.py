"""Every route and every gRPC method of the three services, as they are served, against every kind of caller."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.embedded.options import Platform
from services.runtime.grpc_errors import error_of
from services.runtime.ids import new_id
from tests.support.callers import REFUSED, SERVICES, USERS, tokens_of_callers
from tests.support.own_task import in_own_task
from tests.support.platform import platform_here
from tests.support.rights_table import EVERYBODY, GRPC, HTTP, Rules

SERVED_TO_MACHINES = "include_in_schema=False"
"""What keeps a route out of a document, by which this test would miss it."""

SECONDS_MAX = 20.0

DOORS_REASONS = {"service_required", "gateway_required", "service_token_required"}
"""Why a good token isn't let in, beside those that begin with `token_`."""

Answers = Mapping[str, int]
"""The status that each caller got."""


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with in_own_task(platform_here(tmp_path / "data")) as running:
        yield running


@pytest.mark.parametrize("service", HTTP)
async def test_each_route_lets_in_whom_the_table_names_and_nobody_else(platform: Platform, service: str) -> None:
    url = {"gateway": platform.gateway_url, "orders": platform.orders_url, "ledger": platform.ledger_url}[service]
    tokens, rules = tokens_of_callers(platform.folder.keys), HTTP[service]
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=SECONDS_MAX) as http:
        routes = await routes_of(http)
        seen = {route: await answers_to(http, route, tokens) for route in routes}

    assert set(routes) == set(rules)
    assert {route: let_in(answers) for route, answers in seen.items()} == dict(rules)
    assert refused_otherwise_than_for_the_token(seen, rules) == {}
    assert served_to_services(seen, rules) <= {"GET /api/v1/products"}


@pytest.mark.parametrize("service", ["orders", "ledger"])
def test_no_route_behind_the_gateway_is_left_out_of_its_services_document(service: str) -> None:
    sources = Path(__file__).parents[2].joinpath("services", service).rglob("*.py")

    assert [source.name for source in sources if SERVED_TO_MACHINES in source.read_text()] == []


@pytest.mark.parametrize("where", ["orders", "ledger"])
async def test_each_grpc_method_lets_in_whom_the_table_names_and_nobody_else(platform: Platform, where: str) -> None:
    target = {"orders": platform.orders_grpc_target, "ledger": platform.ledger_grpc_target}[where]
    tokens = tokens_of_callers(platform.folder.keys)
    async with grpc.aio.insecure_channel(target) as channel:
        services = await services_of(channel)
        seen = {
            method: await admitted_to(channel, method, tokens)
            for service in services
            for method in methods_of(service)
            if GRPC[service] != EVERYBODY
        }

    assert seen
    assert seen == {method: GRPC[method.split("/")[1]] for method in seen}


async def routes_of(http: httpx.AsyncClient) -> list[str]:
    paths: dict[str, dict[str, Any]] = (await http.get("/schema/openapi.json")).json()["paths"]
    return [f"{method.upper()} {path}" for path, operations in paths.items() for method in operations]


async def answers_to(http: httpx.AsyncClient, route: str, tokens: Mapping[str, str | None]) -> Answers:
    """Ask with every token, and with nothing that could come to anything."""
    method, path = route.split()
    address = re.sub(r"{(\w+)}", lambda name: "1" if name[1] == "journal_sequence" else str(new_id()), path)
    answers = {}
    for caller, token in tokens.items():
        headers = {"Idempotency-Key": str(new_id()), **({} if token is None else {"Authorization": f"Bearer {token}"})}
        # Streamed, since a stream of events doesn't end.
        async with http.stream(method, address, headers=headers) as answer:
            answers[caller] = answer.status_code
    return answers


def let_in(answers: Answers) -> frozenset[str]:
    """Tell which people passed the door; everybody, where no token was asked for."""
    if answers["nobody"] not in {401, 403} and all(answers[caller] == answers["nobody"] for caller in REFUSED):
        return EVERYBODY
    return frozenset(user for user in USERS if answers[user] not in {401, 403})


def refused_otherwise_than_for_the_token(seen: Mapping[str, Answers], rules: Rules) -> Mapping[str, Answers]:
    """Find what those got whose tokens are good nowhere, where it wasn't 401."""
    others = {
        route: {caller: answers[caller] for caller in REFUSED if answers[caller] != 401}
        for route, answers in seen.items()
        if rules[route] != EVERYBODY
    }
    return {route: answers for route, answers in others.items() if answers}


def served_to_services(seen: Mapping[str, Answers], rules: Rules) -> set[str]:
    """Find the routes of people that a service's token got something from."""
    return {
        route
        for route, answers in seen.items()
        if rules[route] != EVERYBODY and any(answers[service] < 400 for service in SERVICES)
    }


async def services_of(channel: grpc.aio.Channel) -> list[str]:
    """Ask which services there are."""
    untyped_channel: Any = channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(untyped_channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    [answer] = [answer async for answer in stub.ServerReflectionInfo(asked)]
    return [service.name for service in answer.list_services_response.service]


def methods_of(service: str) -> list[str]:
    described = descriptor_pool.Default().FindServiceByName(service)
    return [f"/{service}/{method.name}" for method in described.methods]


async def admitted_to(channel: grpc.aio.Channel, method: str, tokens: Mapping[str, str | None]) -> frozenset[str]:
    """Call with every token and an empty message, and tell whom the door let in."""
    reasons = {caller: await reason_of(channel, method, token) for caller, token in tokens.items()}
    assert all(reasons[caller].startswith("token_") for caller in REFUSED), reasons
    return frozenset(
        caller for caller, reason in reasons.items() if not reason.startswith("token_") and reason not in DOORS_REASONS
    )


async def reason_of(channel: grpc.aio.Channel, method: str, token: str | None) -> str:
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    streamed: Any = channel.stream_stream(method)
    called: Any = channel.unary_unary(method)
    try:
        if method.endswith("/ExecuteStream"):
            async for _ in streamed(iter([b""]), metadata=metadata, timeout=SECONDS_MAX):
                pass
        else:
            await called(b"", metadata=metadata, timeout=SECONDS_MAX)
    except grpc.aio.AioRpcError as error:
        return error_of(error).reason
    return ""
