"""The console's button for another issuer: what a browser is led through, and what leads nobody in."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec

from tests.support.external_issuer import CLIENT_ID, OpenIdProvider, serving_openid_provider
from tests.support.gateway_world import GatewayWorld, gateway_world
from tests.support.slow_cookie import SLOW_COOKIE, SLOW_COOKIE_SECONDS_MAX
from tests.support.waiting import eventually

BUTTON = "/console/sign-in/staff"


@asynccontextmanager
async def worlds(folder: Path, **setting: Any) -> AsyncIterator[tuple[GatewayWorld, OpenIdProvider]]:
    async with serving_openid_provider() as provider:
        told = [provider.setting(**{"title": "Example Staff", **setting})]
        async with gateway_world(folder, external_issuers=told, rate_limits=[]) as world:
            yield world, provider


@asynccontextmanager
async def a_browser(world: GatewayWorld) -> AsyncIterator[httpx.AsyncClient]:
    """Keep cookies as a browser does; redirects are followed by the tests."""
    async with httpx.AsyncClient(base_url=world.gateway.http_url, trust_env=False, timeout=10.0) as browser:
        yield browser


async def came_back(browser: httpx.AsyncClient) -> str:
    """Press the button, sign in over there, and return where the issuer leads back to."""
    away = await browser.get(BUTTON)
    assert away.status_code == 303, away.text
    return (await browser.get(away.headers["Location"])).headers["Location"]


async def renewed(browser: httpx.AsyncClient, world: GatewayWorld) -> httpx.Response:
    headers = {"Origin": world.gateway.http_url, "Sec-Fetch-Site": "same-origin"}
    return await browser.post("/console/session/renewal", headers=headers)


async def test_the_page_is_told_of_issuers_that_have_a_title_and_of_no_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of ours")
    async with worlds(tmp_path, client_secret_file=str(secret)) as (world, _):
        page = (await world.http.get("/")).text
    (tmp_path / "other").mkdir()
    async with worlds(tmp_path / "other", title="") as (world, _):
        without = (await world.http.get("/")).text
        button = await world.http.get(BUTTON)

    assert "Example Staff" in page
    assert "a secret of ours" not in page
    assert "&quot;issuers&quot;:[]" in without
    assert button.status_code == 404


async def test_who_signs_in_over_there_has_the_consoles_session(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, _), a_browser(world) as browser:
        back = await browser.get(await came_back(browser))
        session = await renewed(browser, world)

        assert (back.status_code, back.headers["Location"]) == (303, "/")
        assert session.status_code == 200
        assert session.json()["user"]["email"] == "ann@example.org"
        assert [cookie.name for cookie in browser.cookies.jar] == ["tradeflow_session"]


async def test_the_way_there_asks_for_a_code_with_pkce_and_says_nothing_else(tmp_path: Path) -> None:
    async with worlds(tmp_path, scopes="openid email groups") as (world, provider), a_browser(world) as browser:
        away = await browser.get(BUTTON)

    address = urlsplit(away.headers["Location"])
    query = parse_qs(address.query)
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{provider.url}/authorize"
    assert away.headers["Cache-Control"] == "no-store"
    assert query["redirect_uri"] == [f"{world.gateway.http_url}{BUTTON}/callback"]
    assert (query["response_type"], query["client_id"]) == (["code"], [CLIENT_ID])
    assert (query["scope"], query["code_challenge_method"]) == (["openid email groups"], ["S256"])
    kept = away.headers["Set-Cookie"]
    assert all(part in kept for part in ("HttpOnly", f"Path={BUTTON}", "SameSite=lax", "Max-Age=600"))
    assert query["state"][0] in kept
    assert query["code_challenge"][0] not in kept


async def test_a_client_with_a_secret_shows_it_to_the_issuer(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-ours\n")
    async with worlds(tmp_path, client_secret_file=str(secret)) as (world, provider), a_browser(world) as browser:
        provider.client_secret = "a-secret-of-ours"
        good = await browser.get(await came_back(browser))
        provider.client_secret = "another"
        bad = await browser.get(await came_back(browser))

    assert good.headers["Location"] == "/"
    assert bad.headers["Location"] == "/#/sign-in?problem=sign_in_refused"


async def test_a_code_that_comes_into_another_browser_leads_nobody_in(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, _), a_browser(world) as attacker, a_browser(world) as victim:
        slipped = await came_back(attacker)
        without_attempt = await victim.get(slipped)
        await victim.get(BUTTON)
        within_an_attempt = await victim.get(slipped)
        session = await renewed(victim, world)

    for answer in (without_attempt, within_an_attempt):
        assert answer.headers["Location"] == "/#/sign-in?problem=sign_in_not_begun"
    assert session.status_code == 204
    assert world.identity.sessions == {}


async def test_a_code_works_once(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, _), a_browser(world) as browser:
        address = await came_back(browser)
        kept = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        first = await world.http.get(address, headers={"Cookie": kept})
        world.http.cookies.clear()
        again = await world.http.get(address, headers={"Cookie": kept})

    assert first.headers["Location"] == "/"
    assert again.headers["Location"] == "/#/sign-in?problem=sign_in_refused"


async def test_what_the_issuer_answers_to_something_else_leads_nobody_in(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, provider), a_browser(world) as browser:
        address = await came_back(browser)
        refused = await browser.get(address.replace("code=", "error=access_denied&nothing="))
        address = await came_back(browser)
        of_another = await browser.get(address.replace("iss=", "iss=https%3A%2F%2Fmixed.up%2F"))
        provider.answers_nonce = False
        wrong_nonce = await browser.get(await came_back(browser))

    assert refused.headers["Location"] == "/#/sign-in?problem=sign_in_refused"
    assert of_another.headers["Location"] == "/#/sign-in?problem=sign_in_refused"
    assert wrong_nonce.headers["Location"] == "/#/sign-in?problem=token_wrong_nonce"
    assert world.identity.sessions == {}


async def test_a_long_cookie_of_somebody_else_costs_nothing_on_the_way_back(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, _), a_browser(world) as browser:
        began = time.process_time()
        refused = await browser.get(f"{BUTTON}/callback?state=s&code=c", headers={"Cookie": SLOW_COOKIE})
        taken = time.process_time() - began

    assert refused.headers["Location"] == "/#/sign-in?problem=sign_in_not_begun"
    assert taken < SLOW_COOKIE_SECONDS_MAX


async def test_an_issuer_that_is_away_is_told_on_the_page(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, provider), a_browser(world) as browser:
        provider.is_away = True
        button = await browser.get(BUTTON)
        provider.is_away = False
        await eventually(partial(leads_away, browser))
        address = await came_back(browser)
        provider.is_away = True
        callback = await browser.get(address)

    assert button.headers["Location"] == "/#/sign-in?problem=issuer_unavailable"
    assert callback.headers["Location"] == "/#/sign-in?problem=issuer_unavailable"


async def leads_away(browser: httpx.AsyncClient) -> bool:
    return "/authorize?" in (await browser.get(BUTTON)).headers["Location"]


async def test_nothing_of_the_way_is_part_of_the_public_api(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, _):
        described = msgspec.json.decode((await world.http.get("/schema/openapi.json")).content)

    assert "/auth/exchange" in described["paths"]
    assert not [path for path in described["paths"] if path.startswith("/console")]
