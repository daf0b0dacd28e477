from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from services.runtime.discovery import Discovery, is_trustworthy

ISSUER = "https://id.example.org/realms/staff"
DOCUMENT = {"issuer": ISSUER, "jwks_uri": "https://id.example.org/keys"}


async def found_by(discovery: Discovery, answer: httpx.Response) -> tuple[str, str]:
    """Return what was asked and what was found."""
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        found = await discovery(http)
    return asked[0], found


@pytest.mark.parametrize("issuer", [ISSUER, ISSUER + "/"])
async def test_the_document_lies_behind_the_issuers_url(issuer: str) -> None:
    answer = httpx.Response(200, json={**DOCUMENT, "issuer": issuer})

    asked, found = await found_by(Discovery(issuer), answer)

    assert asked == f"{ISSUER}/.well-known/openid-configuration"
    assert found == DOCUMENT["jwks_uri"]


@pytest.mark.parametrize(
    "document",
    [
        {**DOCUMENT, "issuer": "https://id.example.org/realms/others"},
        {**DOCUMENT, "issuer": ISSUER + "/"},
        {"jwks_uri": DOCUMENT["jwks_uri"]},
        {"issuer": ISSUER},
        {**DOCUMENT, "jwks_uri": "http://id.example.org/keys"},
        {**DOCUMENT, "jwks_uri": "file:///etc/keys"},
        {**DOCUMENT, "jwks_uri": ["https://id.example.org/keys"]},
        {**DOCUMENT, "jwks_uri": "https://\x00"},
    ],
    ids=range(8),
)
async def test_a_document_of_another_issuer_or_without_a_place_to_trust_is_not_believed(
    document: Mapping[str, Any],
) -> None:
    with pytest.raises(ValueError, match="discovery document"):
        await found_by(Discovery(ISSUER), httpx.Response(200, json=document))


async def test_what_is_no_document_is_not_believed() -> None:
    with pytest.raises(ValueError, match="discovery document"):
        await found_by(Discovery(ISSUER), httpx.Response(200, json=[1]))
    with pytest.raises(httpx.HTTPStatusError):
        await found_by(Discovery(ISSUER), httpx.Response(404, json=DOCUMENT))


def test_only_https_and_this_machine_are_trusted_to_say_what_they_said() -> None:
    trusted = ["https://id.example.org", "http://127.0.0.1:8080/keys", "http://localhost/keys", "http://[::1]/keys"]
    others = ["http://id.example.org", "https://", "ftp://localhost/keys", "id.example.org", "http://127.0.0.1.example"]

    assert [is_trustworthy(url) for url in trusted] == [True] * 4
    assert [is_trustworthy(url) for url in others] == [False] * 5
