"""The console's doors: its files, its session in a cookie, what operators see, and money for trying out."""

import gzip
import html
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from services.gateway.inbound.console_session import COOKIE
from tests.support.gateway_world import GatewayWorld, gateway_world
from tests.support.public_shop import PASSWORD
from tests.support.slow_cookie import SLOW_COOKIE, SLOW_COOKIE_SECONDS_MAX

EMAIL = "somebody@shop.example"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GatewayWorld]:
    async with gateway_world(tmp_path) as made:
        yield made


def own_page(world: GatewayWorld, **more: str) -> dict[str, str]:
    """Build the headers that a browser sends from the console's own page."""
    return {"Origin": world.gateway.http_url, "Sec-Fetch-Site": "same-origin", **more}


async def signed_in(world: GatewayWorld) -> httpx.Response:
    body = {"email": EMAIL, "password": PASSWORD}
    await world.http.post("/auth/register", json={**body, "role": "buyer"})
    answer = await world.http.post("/console/session", json=body, headers=own_page(world))
    assert answer.status_code == 200, answer.text
    return answer


async def test_the_page_is_asked_about_each_time_and_its_files_never_again(world: GatewayWorld) -> None:
    page = await world.http.get("/", headers={"Accept-Encoding": "identity"})
    files = re.findall(r'(?:src|href)="(/console/files/[^"]+)"', page.text)
    again = await world.http.get("/", headers={"Accept-Encoding": "identity", "If-None-Match": page.headers["ETag"]})

    assert page.headers["Cache-Control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert len(files) > 30
    for file in files:
        answer = await world.http.get(file)
        assert answer.status_code == 200, file
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_is_told_how_many_decimal_places_each_asset_has(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, assets={"PTS": 0}) as world:
        page = (await world.http.get("/")).text

    told = msgspec.json.decode(html.unescape(re.findall(r'"tradeflow-settings" content="([^"]+)"', page)[0]))
    assert {code: told["exponents"][code] for code in ("EUR", "HUF", "JPY", "KWD", "PTS")} == {
        "EUR": 2,
        "HUF": 2,
        "JPY": 0,
        "KWD": 3,
        "PTS": 0,
    }


async def test_the_policy_allows_nothing_inline_and_nobody_else(world: GatewayWorld) -> None:
    policy = (await world.http.get("/")).headers["Content-Security-Policy"]

    assert "unsafe" not in policy
    assert "http" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")


async def test_files_travel_zipped_to_who_takes_that_and_have_a_tag_of_their_own(world: GatewayWorld) -> None:
    file = re.findall(r'"(/console/files/[^"]+/main.js)"', (await world.http.get("/")).text)[0]

    plain = await world.http.get(file, headers={"Accept-Encoding": "gzip;q=0, identity"})
    async with world.http.stream("GET", file, headers={"Accept-Encoding": "gzip, br"}) as zipped:
        raw = b"".join([piece async for piece in zipped.aiter_raw()])
    head = await world.http.head(file)

    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    assert plain.headers["Content-Type"].startswith("text/javascript")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", ["nothing.js", "..%2Fwiring.py", "..%2f..%2fsettings.py", "index.html"])
async def test_nothing_but_the_consoles_files_is_sent(world: GatewayWorld, path: str) -> None:
    answer = await world.http.get(f"/console/files/any/{path}")

    assert answer.status_code == 404


async def test_a_file_of_another_version_is_the_one_that_there_is_and_is_not_kept(world: GatewayWorld) -> None:
    answer = await world.http.get("/console/files/older/js/main.js")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_the_refresh_token_is_in_a_cookie_that_no_script_reads_and_in_no_body(world: GatewayWorld) -> None:
    answer = await signed_in(world)

    cookie = answer.headers["Set-Cookie"].lower()
    assert set(answer.json()) == {"access_token", "expires_in", "user"}
    assert answer.json()["user"]["email"] == EMAIL
    assert {"httponly", "samesite=strict", "path=/console/session"} <= {part.strip() for part in cookie.split(";")}
    assert answer.headers["Cache-Control"] == "no-store"
    assert world.http.cookies[COOKIE] not in answer.text


async def test_on_https_the_cookie_travels_on_https_alone(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, trusted_proxies=["127.0.0.0/8"]) as world:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example", "Origin": "https://shop.example"}
        body = {"email": EMAIL, "password": PASSWORD}
        await world.http.post("/auth/register", json={**body, "role": "buyer"})

        answer = await world.http.post("/console/session", json=body, headers=headers)

        assert answer.headers["Set-Cookie"].startswith(f"__Secure-{COOKIE}=")
        assert "secure" in answer.headers["Set-Cookie"].lower().split("; ")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "{own}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "{own}", "Sec-Fetch-Site": "same-site"},
        {"Origin": "{own}.evil.example"},
    ],
)
async def test_no_other_site_gets_through_the_sessions_door(world: GatewayWorld, headers: dict[str, str]) -> None:
    await signed_in(world)
    sent = {name: value.replace("{own}", world.gateway.http_url) for name, value in headers.items()}

    begun = await world.http.post("/console/session", json={"email": EMAIL, "password": PASSWORD}, headers=sent)
    renewed = await world.http.post("/console/session/renewal", headers=sent)
    ended = await world.http.delete("/console/session", headers=sent)
    still = await world.http.post("/console/session/renewal", headers=own_page(world))

    assert [answer.status_code for answer in (begun, renewed, ended)] == [403] * 3
    assert begun.json()["reason"] == "cross_site_request"
    assert still.status_code == 200


async def test_a_renewal_without_a_session_is_no_mistake(world: GatewayWorld) -> None:
    answer = await world.http.post("/console/session/renewal", headers=own_page(world))

    assert (answer.status_code, answer.content) == (204, b"")


async def test_pages_that_are_loaded_use_up_no_sign_ins_and_guesses_of_the_password_do(tmp_path: Path) -> None:
    limit = {"name": "sign-in", "route_class": "auth", "per": "ip", "limit": 3, "window_seconds": 3600}
    async with gateway_world(tmp_path, rate_limits=[limit]) as world:
        nobody = [await world.http.post("/console/session/renewal", headers=own_page(world)) for _ in range(5)]
        await signed_in(world)
        renewed = [await world.http.post("/console/session/renewal", headers=own_page(world)) for _ in range(5)]
        guess = {"email": EMAIL, "password": "a guess"}
        guesses = [await world.http.post("/console/session", json=guess, headers=own_page(world)) for _ in range(2)]

    assert [answer.status_code for answer in nobody] == [204] * 5
    assert [answer.status_code for answer in renewed] == [200] * 5
    assert [answer.status_code for answer in guesses] == [401, 429]


async def test_each_renewal_gives_another_token_and_a_session_that_ended_takes_its_cookie_along(
    world: GatewayWorld,
) -> None:
    first = await signed_in(world)
    kept = world.http.cookies[COOKIE]
    renewed = await world.http.post("/console/session/renewal", headers=own_page(world))
    replaced = world.http.cookies[COOKIE]

    token = renewed.json()["access_token"]
    ended = await world.http.delete("/console/session", headers=own_page(world, Authorization=f"Bearer {token}"))
    refused = await world.http.get("/api/v1/orders", headers={"Authorization": f"Bearer {token}"})
    late = await world.http.post(
        "/console/session/renewal", headers=own_page(world, Cookie=f"{COOKIE}={replaced}"), cookies=None
    )

    assert renewed.json()["access_token"] != first.json()["access_token"]
    assert replaced != kept
    assert ended.status_code == 204
    assert refused.json()["reason"] == "token_revoked"
    assert late.status_code == 401
    assert "max-age=0" in late.headers["Set-Cookie"].lower()


async def test_a_long_cookie_of_somebody_else_costs_nothing_and_ours_is_found_beside_it(world: GatewayWorld) -> None:
    await signed_in(world)
    ours = f"{COOKIE}={world.http.cookies[COOKIE]}"
    began = time.process_time()

    renewed = await world.http.post(
        "/console/session/renewal", headers=own_page(world, Cookie=f"{SLOW_COOKIE}; {ours} ; z"), cookies=None
    )

    assert renewed.status_code == 200, renewed.text
    assert time.process_time() - began < SLOW_COOKIE_SECONDS_MAX


@pytest.mark.parametrize("roles", [("buyer",), ("merchant",), ("treasury",)])
async def test_operations_are_for_operators_alone(world: GatewayWorld, roles: tuple[str, ...]) -> None:
    answer = await world.http.get("/api/v1/operations", headers=world.bearer(world.token(roles=roles)))

    assert answer.status_code == 403
    assert answer.json()["reason"] == "role_required"


async def test_operators_see_a_service_that_does_not_answer_and_no_key_itself(world: GatewayWorld) -> None:
    answer = await world.http.get("/api/v1/operations", headers=world.bearer(world.token(roles=("operator",))))

    told = answer.json()
    ready = {service["name"]: service["ready"] for service in told["figures"]["services"]}
    assert ready == {"gateway": True, "orders": False, "ledger": False}
    assert [set(key) for key in told["keys"]] == [{"key_id", "status", "signs", "made_at_seconds"}]
    assert [key["signs"] for key in told["keys"]] == [True]
    assert told["figures"]["requests"]["count"] >= 0
    assert answer.headers["Cache-Control"] == "no-store"


async def test_money_for_trying_out_is_given_only_where_the_settings_say_so(tmp_path: Path) -> None:
    wish = {"amount": {"amount_minor": 500, "currency": "EUR"}}
    for folder in ("real", "demo"):
        (tmp_path / folder).mkdir()
    async with gateway_world(tmp_path / "real") as real:
        headers = {**real.bearer(), "Idempotency-Key": "one"}
        assert (await real.http.post("/console/top-ups", json=wish, headers=headers)).status_code == 404
    async with gateway_world(tmp_path / "demo", demo_top_ups=True) as demo:
        headers = {**demo.bearer(), "Idempotency-Key": "one"}
        too_much = {"amount": {"amount_minor": 1_000_001, "currency": "EUR"}}

        refused = await demo.http.post("/console/top-ups", json=too_much, headers=headers)
        nameless = await demo.http.post("/console/top-ups", json=wish, headers=demo.bearer())

        assert refused.json()["reason"] == "top_up_too_large"
        assert nameless.json()["reason"] == "idempotency_key_missing"
