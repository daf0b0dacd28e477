"""What the gateway's document says of routes that other services answer, against what they say of them themselves."""

from pathlib import Path
from typing import Any

import httpx

from tests.support.platform import platform_here

Operations = dict[tuple[str, str], Any]
"""By method and path."""


async def described_at(url: str) -> Operations:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        paths = (await http.get("/schema/openapi.json")).json()["paths"]
    return {(method, path): operation for path, item in paths.items() for method, operation in item.items()}


def query_of(operation: Any) -> dict[str, Any]:
    """Tell what may be in the query; names and limits only, since each document has words of its own."""
    return {
        parameter["name"]: {"required": parameter["required"], **accepted(parameter["schema"])}
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }


def accepted(schema: Any) -> dict[str, Any]:
    """Tell which values a schema takes, but for null: a query has no way to say it."""
    if "oneOf" in schema:
        [schema] = [choice for choice in schema["oneOf"] if choice != {"type": "null"}]
    if "enum" in schema:
        return {"one of": {word for word in schema["enum"] if word is not None}}
    return {name: schema[name] for name in ("type", "items", "minimum", "maximum") if name in schema}


async def test_the_public_document_says_of_a_query_what_the_service_behind_it_says(tmp_path: Path) -> None:
    async with platform_here(tmp_path / "data") as platform:
        public = await described_at(platform.gateway_url)
        behind = {**await described_at(platform.orders_url), **await described_at(platform.ledger_url)}

    proxied = public.keys() & behind.keys()
    assert {("get", "/api/v1/discrepancies"), ("get", "/api/v1/wallet/statement")} <= proxied
    assert {route: query_of(public[route]) for route in proxied} == {
        route: query_of(behind[route]) for route in proxied
    }
