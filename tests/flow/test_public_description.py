"""What the gateway's document says of routes, against those that are served, and what services say of theirs."""

import re
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway_world import gateway_world
from tests.support.platform import platform_here

LEADS_ON = "leads to orders: held below to what orders answers there"
CONSOLE = "the console's own, which changes with it"
OPERATIONS = "for those who run the platform, and in no client's way"

NOT_DESCRIBED = {
    "/": CONSOLE,
    "/console/files/{version}/{file}": CONSOLE,
    "/console/session": CONSOLE,
    "/console/session/renewal": CONSOLE,
    "/console/sign-in/{name}": CONSOLE,
    "/console/sign-in/{name}/callback": CONSOLE,
    "/console/top-ups": CONSOLE,
    "/healthz": OPERATIONS,
    "/readyz": OPERATIONS,
    "/metrics": OPERATIONS,
    "/schema": "the document itself",
    "/schema/openapi.json": "the document itself",
    "/schema/openapi.yaml": "the document itself",
    "/schema/openapi.yml": "the document itself",
    "/schema/{path}": "the document itself",
    "/ws/notifications": "a WebSocket, which OpenAPI has no words for",
    "/api/v1/orders/{rest}": LEADS_ON,
    "/api/v1/products/{rest}": LEADS_ON,
    "/api/v1/webhooks/{rest}": LEADS_ON,
}
"""Paths that the gateway serves and its document doesn't name, with the reasons."""

Operations = dict[tuple[str, str], Any]
"""By method and path."""


async def described_at(url: str) -> Operations:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        paths = (await http.get("/schema/openapi.json")).json()["paths"]
    return {(method, path): operation for path, item in paths.items() for method, operation in item.items()}


def address_of(operation: Any) -> dict[str, Any]:
    """Tell what may be in the path and query; names and limits only, since each document has words of its own."""
    return {
        parameter["name"]: {"required": parameter["required"], **accepted(parameter["schema"])}
        for parameter in operation.get("parameters", [])
        if parameter["in"] in {"path", "query"}
    }


def accepted(schema: Any) -> dict[str, Any]:
    """Tell which values a schema takes, but for null: a query has no way to say it."""
    if "oneOf" in schema:
        [schema] = [choice for choice in schema["oneOf"] if choice != {"type": "null"}]
    if "enum" in schema:
        return {"one of": {word for word in schema["enum"] if word is not None}}
    return {name: schema[name] for name in ("type", "items", "minimum", "maximum") if name in schema}


async def test_the_document_names_each_path_that_the_gateway_serves_but_for_a_reason(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, demo_top_ups=True) as world:
        served = {re.sub(r":\w+}", "}", route.path) for route in world.gateway.app.routes}
        described = {path for _, path in await described_at(world.gateway.http_url)}

    assert served - described == set(NOT_DESCRIBED)


async def test_the_document_names_each_operation_of_the_services_that_the_gateway_lets_through(tmp_path: Path) -> None:
    async with platform_here(tmp_path / "data") as platform:
        public = await described_at(platform.gateway_url)
        behind = {**await described_at(platform.orders_url), **await described_at(platform.ledger_url)}
        let_through = {operation for operation in behind if await is_served_at(platform.gateway_url, *operation)}

    assert {("post", "/api/v1/orders/{order_id}/refunds"), ("get", "/api/v1/ledger/consistency")} <= let_through
    assert ("post", "/api/v1/wallets/{wallet_id}/deposits") in behind.keys() - let_through
    assert let_through - public.keys() == set()


async def is_served_at(url: str, method: str, path: str) -> bool:
    """Ask without a token: what isn't there is told before who asks for it."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        answer = await http.request(method, re.sub(r"{\w+}", "1", path))
    return answer.status_code < 400 or answer.json()["reason"] not in {"route_not_found", "method_not_allowed"}


async def test_the_public_document_says_of_a_query_and_a_path_what_the_service_behind_it_says(tmp_path: Path) -> None:
    async with platform_here(tmp_path / "data") as platform:
        public = await described_at(platform.gateway_url)
        behind = {**await described_at(platform.orders_url), **await described_at(platform.ledger_url)}

    proxied = public.keys() & behind.keys()
    assert {("get", "/api/v1/discrepancies"), ("get", "/api/v1/wallet/statement")} <= proxied
    assert {route: address_of(public[route]) for route in proxied} == {
        route: address_of(behind[route]) for route in proxied
    }


async def test_the_document_says_of_instants_and_ids_what_form_they_have(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, httpx.AsyncClient(trust_env=False) as http:
        document = (await http.get(f"{world.gateway.http_url}/schema/openapi.json")).json()

    schemas = document["components"]["schemas"].values()
    fields = [(name, field) for schema in schemas for name, field in schema["properties"].items()]
    places = [
        (parameter["name"], parameter["schema"])
        for item in document["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
    ]
    instants = [field for name, field in fields if name.endswith("_at")]
    instants += [place for name, place in places if name in INSTANTS_IN_QUERIES]
    assert len(instants) > 30
    assert {form_of(instant) for instant in instants} == {"date-time"}
    assert {form_of(place) for name, place in places if name.endswith("_id")} == {"uuid"}


INSTANTS_IN_QUERIES = {"at", "effective_at", "placed_from", "placed_until", "recorded_from", "recorded_until"}


def form_of(schema: Any) -> str | None:
    """Tell the format of a text, or of one that may be absent."""
    [told] = [choice for choice in schema.get("anyOf", [schema]) if choice != {"type": "null"}]
    form: str | None = told.get("format")
    return form


async def test_the_document_names_the_headers_that_answers_have_for_those_who_come_again(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        described = await described_at(world.gateway.http_url)

    for operation in described.values():
        for status in {"429", "503"} & operation["responses"].keys():
            assert "Retry-After" in operation["responses"][status]["headers"]
    keyed = [
        one for one in described.values() if "Idempotency-Key" in {part["name"] for part in one.get("parameters", [])}
    ]
    assert len(keyed) == 6
    for operation in keyed:
        told_again = {
            status for status, answer in operation["responses"].items() if REPLAYED in answer.get("headers", {})
        }
        assert told_again - {"422"} in ({"200"}, {"201"})
        assert "422" in told_again


REPLAYED = "Idempotency-Replayed"
