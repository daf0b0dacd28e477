"""What pages of other sites can make somebody's browser do: nothing, and read nothing."""

from pathlib import Path

import pytest

from tests.support.gateway_world import gateway_world

FOREIGN = "https://evil.example"

ANNE = {"email": "anne@example.org", "password": "password", "role": "buyer"}


async def test_no_answer_lets_another_sites_page_read_it(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answers = [
            await world.http.get(path, headers={**world.bearer(), "Origin": FOREIGN})
            for path in ("/api/v1/orders", "/api/v1/wallet/balance", "/.well-known/jwks.json", "/schema")
        ]

    assert {name for answer in answers for name in answer.headers if name.startswith("access-control-")} == set()


@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh", "/api/v1/orders", "/api/v1/wallet/withdrawals"])
async def test_a_preflight_of_another_sites_page_is_not_granted(tmp_path: Path, path: str) -> None:
    asked = {
        "Origin": FOREIGN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with gateway_world(tmp_path) as world:
        answer = await world.http.options(path, headers=asked)

        assert "access-control-allow-origin" not in answer.headers
        assert world.orders_http.received == world.ledger_http.received == []


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_what_a_form_can_send_without_asking_is_refused(tmp_path: Path, content_type: str) -> None:
    """A browser sends these to any site without a preflight."""
    async with gateway_world(tmp_path) as world:
        answers = [
            await world.http.post(path, content=b'{"refresh_token": "x"}', headers={"Content-Type": content_type})
            for path in ("/auth/register", "/auth/login", "/auth/refresh")
        ]

        assert [answer.status_code for answer in answers] == [415] * 3
        assert {"Register", "Authenticate", "RotateSession"}.isdisjoint(world.identity.calls)


async def test_a_cookie_signs_nobody_in(tmp_path: Path) -> None:
    """What a browser adds by itself must never be enough."""
    async with gateway_world(tmp_path) as world:
        token = world.token()
        cookies = {"Cookie": f"access_token={token}; token={token}; Authorization=Bearer {token}"}
        answers = [
            await world.http.get("/api/v1/orders", headers=cookies),
            await world.http.post("/api/v1/orders", json={}, headers={**cookies, "Origin": FOREIGN}),
        ]

        assert [answer.status_code for answer in answers] == [401, 401]
        assert world.orders_http.received == []


async def test_tokens_are_never_kept_by_caches(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.http.post("/auth/register", json=ANNE)
        credentials = {name: ANNE[name] for name in ("email", "password")}
        signed_in = await world.http.post("/auth/login", json=credentials)
        token = signed_in.json()["refresh_token"]
        answers = [
            signed_in,
            await world.http.post("/auth/refresh", json={"refresh_token": token}),
            await world.http.post("/auth/ticket", headers=world.bearer()),
        ]

    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
