"""Attacks with tokens at the gateway's door, and how often anyone may knock."""

import asyncio
import base64
import hmac
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from services.runtime.clock import SystemClock
from tests.support.clock import VirtualClock
from tests.support.gateway_world import ISSUER, GatewayWorld, gateway_world
from tests.support.waiting import eventually

CALLERS = 64

HEADER = {"alg": "RS256", "typ": "at+jwt"}


def claims_of(world: GatewayWorld, **changes: Any) -> dict[str, Any]:
    now = int(world.clock.now().timestamp())
    usual = {
        "iss": ISSUER,
        "sub": world.wallet_id,
        "aud": "tradeflow",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": "a-token",
        "roles": ["buyer"],
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, ""])


def signed_with_secret(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    signed = unsigned(header, claims).rstrip(".")
    mark = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


def forged_tokens(world: GatewayWorld) -> dict[str, tuple[str, str]]:
    """Return tokens that must not open the door, with the reason that each is refused for."""
    active = world.keys.current.active
    key_id = active.key_id
    public_pem = active.key.as_pem(private=False)
    stranger = RSAKey.generate_key(2048)
    claims = claims_of(world)
    good = world.keys.sign(claims)
    head, body, signature = good.split(".")
    other_body = unsigned({}, claims_of(world, sub="someone-else")).split(".")[1]
    embedded = {**HEADER, "kid": "evil", "jwk": stranger.as_dict(private=False)}
    linked = {**HEADER, "kid": "evil", "jku": "https://evil.test/jwks.json"}
    return {
        "no algorithm": (unsigned({"alg": "none", "kid": key_id}, claims), "token_forged"),
        "the public key as a shared secret": (
            signed_with_secret({"alg": "HS256", "kid": key_id}, claims, public_pem),
            "token_forged",
        ),
        "a stranger's key under our kid": (jwt.encode({**HEADER, "kid": key_id}, claims, stranger), "token_forged"),
        "a key that the token brings along": (jwt.encode(embedded, claims, stranger), "token_malformed"),
        "a key that the token points to": (jwt.encode(linked, claims, stranger), "token_forged"),
        "an unknown kid": (jwt.encode({**HEADER, "kid": "../../dev/null"}, claims, stranger), "token_forged"),
        "another body": (f"{head}.{other_body}.{signature}", "token_forged"),
        "no signature": (f"{head}.{body}.", "token_forged"),
        "an expired one": (world.keys.sign(claims_of(world, exp=claims["iat"] - 1)), "token_expired"),
        "one of tomorrow": (world.keys.sign(claims_of(world, nbf=claims["iat"] + 3600)), "token_not_yet_valid"),
        "another issuer": (world.keys.sign(claims_of(world, iss="https://evil.test")), "token_wrong_issuer"),
        "another audience": (world.keys.sign(claims_of(world, aud="ledger")), "token_wrong_audience"),
        "no end": (world.keys.sign(claims_of(world, exp=None)), "token_malformed"),
        "no id": (world.keys.sign(claims_of(world, jti=None)), "token_malformed"),
        "no token": ("abc", "token_malformed"),
        "a long one": ("e" * 9000, "token_malformed"),
    }


async def test_no_forged_token_opens_the_door(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        refusals = {}
        expected = {}
        for name, (token, reason) in forged_tokens(world).items():
            answer = await world.http.get("/api/v1/orders", headers=world.bearer(token))
            refusals[name] = (answer.status_code, answer.json()["reason"])
            expected[name] = (401, reason)

        assert refusals == expected
        assert world.orders_http.received == []


async def test_each_proxied_route_asks_for_a_token(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answers = [
            await world.http.request(method, path)
            for method, path in (
                ("GET", "/api/v1/orders"),
                ("POST", "/api/v1/orders"),
                ("GET", "/api/v1/orders/1"),
                ("POST", "/api/v1/orders/1/cancel"),
                ("GET", "/api/v1/products"),
                ("GET", "/api/v1/products/x"),
                ("POST", "/api/v1/products"),
                ("PATCH", "/api/v1/products/x"),
                ("GET", "/api/v1/wallet/balance"),
                ("GET", "/api/v1/wallet/statement"),
                ("GET", "/api/v1/wallet/statement/proof"),
                ("GET", "/api/v1/wallet/events"),
                ("POST", "/api/v1/wallet/deposits"),
            )
        ]

        assert {answer.status_code for answer in answers} == {401}
        assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
        assert world.orders_http.received == []
        assert world.ledger_http.received == []


async def test_a_token_is_over_at_the_door_the_moment_it_expires(tmp_path: Path) -> None:
    clock = VirtualClock(SystemClock().now())
    async with gateway_world(tmp_path, clock=clock) as world:
        bearer = world.bearer()
        before = await world.http.get("/api/v1/orders", headers=bearer)
        await clock.advance(timedelta(minutes=10).total_seconds())
        after = await world.http.get("/api/v1/orders", headers=bearer)

    assert before.status_code == 200
    assert (after.status_code, after.json()["reason"]) == (401, "token_expired")


def a_limit(**changes: Any) -> dict[str, Any]:
    return {"name": "few", "route_class": "read", "per": "user", "limit": 10, "window_seconds": 3600, **changes}


async def test_many_callers_at_once_get_exactly_the_limit(tmp_path: Path) -> None:
    async with (
        gateway_world(tmp_path, rate_limits=[a_limit(limit=20)]) as world,
        world.another_gateway() as other,
    ):
        urls = [f"{gateway.http_url}/api/v1/orders" for gateway in (world.gateway, other)]
        bearer = world.bearer()

        answers = await asyncio.gather(*(world.http.get(urls[caller % 2], headers=bearer) for caller in range(CALLERS)))

    assert Counter(answer.status_code for answer in answers) == {200: 20, 429: CALLERS - 20}


async def test_a_call_over_the_limit_is_told_what_the_limit_is_and_when_to_come_back(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, rate_limits=[a_limit(limit=2)]) as world:
        answers = [await world.http.get("/api/v1/orders", headers=world.bearer()) for _ in range(3)]

    first, _, refused = answers
    assert first.headers["ratelimit-policy"] == '"few";q=2;w=3600'
    assert first.headers["ratelimit"] == '"few";r=1;t=1800'
    assert refused.status_code == 429
    assert refused.headers["ratelimit"] == '"few";r=0;t=3600'
    assert int(refused.headers["retry-after"]) == pytest.approx(1800, abs=5)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["reason"] == "rate_limited"
    assert refused.json()["details"]["policy"] == "few"


async def test_users_have_quotas_of_their_own_and_reads_do_not_use_up_writes(tmp_path: Path) -> None:
    limits = [a_limit(limit=1), a_limit(name="writes", route_class="write", limit=1)]
    async with gateway_world(tmp_path, rate_limits=limits) as world:
        anne, ben = world.bearer(), world.bearer(world.token("ben"))
        answers = [
            await world.http.get("/api/v1/orders", headers=anne),
            await world.http.get("/api/v1/orders", headers=ben),
            await world.http.post("/api/v1/orders", headers=anne),
            await world.http.get("/api/v1/orders", headers=anne),
            await world.http.post("/api/v1/orders", headers=anne),
        ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]


async def test_guessing_passwords_and_tokens_is_limited_by_address(tmp_path: Path) -> None:
    limits = [
        a_limit(name="sign-in", route_class="auth", per="ip", limit=2),
        a_limit(name="address", route_class="read", per="ip", limit=2),
    ]
    async with gateway_world(tmp_path, rate_limits=limits) as world:
        guess = {"email": "a@example.org", "password": "guess"}
        sign_ins = [await world.http.post("/auth/login", json=guess) for _ in range(3)]
        tokens = [await world.http.get("/api/v1/orders", headers=world.bearer("abc")) for _ in range(3)]

        assert [answer.status_code for answer in sign_ins] == [401, 401, 429]
        assert [answer.status_code for answer in tokens] == [401, 401, 429]
        assert world.identity.calls.count("Authenticate") == 2


async def test_a_forwarded_address_counts_only_from_a_trusted_proxy(tmp_path: Path) -> None:
    limits = [a_limit(name="address", route_class="any", per="ip", limit=1)]
    async with (
        gateway_world(tmp_path, rate_limits=limits) as world,
        world.another_gateway(
            trusted_proxies=world.settings.model_validate(
                {**world.settings.model_dump(), "trusted_proxies": ["127.0.0.0/8"]}
            ).trusted_proxies
        ) as behind_proxy,
    ):
        url = "/api/v1/products"
        bearer = world.bearer()
        spoofed = [await world.http.get(url, headers=forwarded_for(bearer, host)) for host in (1, 2)]
        there = f"{behind_proxy.http_url}{url}"
        believed = [await world.http.get(there, headers=forwarded_for(bearer, host)) for host in (1, 2, 1)]

    assert [answer.status_code for answer in spoofed] == [200, 429]
    assert [answer.status_code for answer in believed] == [200, 200, 429]


async def test_a_proxy_that_is_not_trusted_is_a_hint_and_takes_no_traffic_away(tmp_path: Path) -> None:
    for folder in ("bare", "behind"):
        (tmp_path / folder).mkdir()
    async with (
        gateway_world(tmp_path / "bare") as world,
        gateway_world(tmp_path / "behind", trusted_proxies=["127.0.0.0/8"]) as behind_proxy,
    ):
        before = await world.http.get("/readyz")
        for each in (world, behind_proxy):
            await each.http.get("/api/v1/products", headers=forwarded_for(each.bearer(), 1))
        after, believed = [await each.http.get("/readyz") for each in (world, behind_proxy)]

    assert before.json()["hints"]["trusted_proxies"] == "ok"
    assert (after.status_code, believed.status_code) == (200, 200)
    assert "isn't one of the trusted proxies" in after.json()["hints"]["trusted_proxies"]
    assert believed.json()["hints"]["trusted_proxies"] == "ok"


def forwarded_for(bearer: dict[str, str], host: int) -> dict[str, str]:
    return {**bearer, "X-Forwarded-For": f"203.0.113.{host}"}


async def test_public_keys_and_probes_are_not_counted(tmp_path: Path) -> None:
    limits = [a_limit(name="address", route_class="any", per="ip", limit=1)]
    async with gateway_world(tmp_path, rate_limits=limits) as world:
        paths = ["/.well-known/jwks.json", "/healthz", "/readyz", "/metrics", "/schema"] * 2
        statuses = [(await world.http.get(path)).status_code for path in paths]

    assert set(statuses) == {200}


async def test_without_redis_calls_pass_or_not_as_the_setting_says(tmp_path: Path) -> None:
    async with (
        gateway_world(tmp_path, rate_limits=[a_limit(limit=1)]) as world,
        world.another_gateway(rate_limit_failure_mode="closed") as closed,
    ):
        world.redis.stop()
        passed = [await world.http.get("/api/v1/orders", headers=world.bearer()) for _ in range(3)]
        refused = await world.http.get(f"{closed.http_url}/api/v1/orders", headers=world.bearer())
        readiness = [
            (await world.http.get(f"{gateway.http_url}/readyz")).status_code for gateway in (world.gateway, closed)
        ]

    assert [answer.status_code for answer in passed] == [200, 200, 200]
    assert (refused.status_code, refused.json()["reason"]) == (503, "rate_limiter_unavailable")
    assert readiness == [200, 503]


async def test_limits_of_a_file_hold_without_a_restart_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "rate-limits.json"
    file.write_text(json.dumps({"limits": [a_limit(limit=1)]}))
    async with gateway_world(tmp_path, rate_limits_file=file) as world:

        async def limit_told() -> str:
            answer = await world.http.get("/api/v1/orders", headers=world.bearer(world.token(str(uuid4()))))
            return str(answer.headers.get("ratelimit-policy", ""))

        async def the_hint_complains() -> bool:
            hint: str = (await world.http.get("/readyz")).json()["hints"]["rate_limits"]
            return "limits.0.limit" in hint

        assert await limit_told() == '"few";q=1;w=3600'
        write_whole(file, {"limits": [a_limit(limit=-1)]})
        await eventually(the_hint_complains)
        assert await limit_told() == '"few";q=1;w=3600'
        write_whole(file, {"limits": [a_limit(name="mended", limit=7)]})

        async def it_is_mended() -> bool:
            return await limit_told() == '"mended";q=7;w=3600'

        await eventually(it_is_mended)


def write_whole(file: Path, content: dict[str, Any]) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(content))
    draft.replace(file)


async def test_a_dry_run_counts_refuses_nobody_and_tells_callers_nothing(tmp_path: Path) -> None:
    limits = [a_limit(limit=1, dry_run=True), a_limit(name="real", limit=4)]
    async with gateway_world(tmp_path, rate_limits=limits) as world:
        answers = [await world.http.get("/api/v1/orders", headers=world.bearer()) for _ in range(5)]
        metrics = (await world.http.get("/metrics")).text

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"real";q=4;w=3600'}
    assert 'tradeflow_gateway_rate_would_limit_total{policy="few"} 4.0' in metrics
    assert 'tradeflow_gateway_rate_limited_total{policy="few"}' not in metrics


async def test_heads_and_keys_of_the_ledger_are_for_everybody(tmp_path: Path) -> None:
    paths = ["/api/v1/ledger/head", "/api/v1/ledger/keys", "/api/v1/ledger/consistency"]
    async with gateway_world(tmp_path) as world:
        answers = [await world.http.get(path) for path in paths]

        assert [answer.status_code for answer in answers] == [200] * len(paths)
        assert [received.target for received in world.ledger_http.received] == paths
