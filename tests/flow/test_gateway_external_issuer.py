"""Signing in with a company's own identity provider, through a running gateway and over the provider's real socket."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.certificates import Authority
from tests.support.clock import VirtualClock
from tests.support.external_issuer import OpenIdProvider, external_key, serving_openid_provider
from tests.support.gateway_world import ISSUER, GatewayWorld, gateway_world
from tests.support.waiting import eventually
from tradeflow.orders.v1 import identity_service_pb2 as identity

GENEROUS = [{"name": "sign-in", "route_class": "auth", "per": "ip", "limit": 100_000, "window_seconds": 1}]
"""For tests that wait for something by asking again and again."""

ROLES = {"roles_claim": "groups", "roles": {"shop-sellers": "merchant"}}


@asynccontextmanager
async def worlds(
    folder: Path, *, clock: VirtualClock | None = None, setting: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[tuple[GatewayWorld, OpenIdProvider]]:
    """Start a gateway that trusts a provider; `setting` changes what it is told of it."""
    async with serving_openid_provider(clock) as provider:
        told = [provider.setting(**(setting or {}))]
        async with gateway_world(folder, clock=clock, external_issuers=told, **changes) as world:
            yield world, provider


async def exchange(world: GatewayWorld, id_token: str) -> httpx.Response:
    return await world.http.post("/auth/exchange", json={"id_token": id_token})


def reason_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


async def test_a_token_of_the_provider_is_exchanged_for_the_gateways_own(tmp_path: Path) -> None:
    async with worlds(tmp_path, setting=ROLES) as (world, provider):
        answer = await exchange(world, provider.id_token(groups=["chess", "shop-sellers"]))
        jwks = await world.http.get("/.well-known/jwks.json")
        body = answer.json()
        refreshed = await world.http.post("/auth/refresh", json={"refresh_token": body["refresh_token"]})
        ticket = await world.http.post("/auth/ticket", headers=world.bearer(body["access_token"]))

    assert answer.status_code == 200, body
    assert answer.headers["cache-control"] == "no-store"
    assert set(body) == {"access_token", "refresh_token", "token_type", "expires_in"}
    claims = jwt.decode(body["access_token"], KeySet.import_key_set(jwks.json()), algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"], claims["roles"]) == (ISSUER, "tradeflow", ["merchant"])
    assert claims["sub"] == world.identity.users["ann@example.org"].user_id
    assert (refreshed.status_code, ticket.status_code) == (200, 201)


async def test_the_providers_own_token_opens_no_other_door(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, provider):
        answer = await world.http.get("/api/v1/orders", headers=world.bearer(provider.id_token()))

    assert reason_of(answer) == (401, "token_malformed")


async def test_the_provider_is_asked_once_for_many_sign_ins(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, provider):
        answers = [await exchange(world, provider.id_token(subject)) for subject in ("ann", "bob", "ann")]

        assert {answer.status_code for answer in answers} == {200}
        assert provider.looks_at_keys == 1
    assert len(world.identity.users) == 2


async def test_rotated_keys_are_found_and_a_withdrawn_one_signs_nothing_new(tmp_path: Path) -> None:
    async with worlds(tmp_path, rate_limits=GENEROUS) as (world, provider):
        first = await exchange(world, provider.id_token())
        withdrawn = provider.keys.pop()
        provider.keys.append(external_key("second"))

        async def the_new_key_is_known() -> bool:  # not before the pause between two looks is over
            return (await exchange(world, provider.id_token())).status_code == 200

        await eventually(the_new_key_is_known)
        old = await exchange(world, provider.id_token(key=withdrawn))

    assert first.status_code == 200
    assert reason_of(old) == (401, "token_forged")


async def test_a_provider_that_is_away_is_503_until_it_is_back_and_nothing_to_who_has_its_keys(tmp_path: Path) -> None:
    async with worlds(tmp_path, rate_limits=GENEROUS) as (world, provider):
        provider.is_away = True
        away = await exchange(world, provider.id_token())
        hint = (await world.http.get("/readyz")).json()
        provider.is_away = False

        async def somebody_gets_in() -> bool:
            return (await exchange(world, provider.id_token())).status_code == 200

        await eventually(somebody_gets_in)
        provider.is_away = True
        known_key = await exchange(world, provider.id_token("bob"))

    assert reason_of(away) == (503, "issuer_unavailable")
    assert int(away.headers["Retry-After"]) >= 1
    assert hint["hints"]["issuer_staff"] != "ok"
    assert known_key.status_code == 200


async def test_a_discovery_document_of_another_issuer_is_no_document(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, provider):
        provider.says_it_is = "https://somebody.example"
        answer = await exchange(world, provider.id_token())

    assert reason_of(answer) == (503, "issuer_unavailable")
    assert provider.looks_at_keys == 0


async def test_a_key_set_may_be_named_instead_of_discovered(tmp_path: Path) -> None:
    async with serving_openid_provider() as provider:
        provider.says_it_is = "nobody asks"
        told = [provider.setting(jwks_url=f"{provider.url}/keys")]
        async with gateway_world(tmp_path, external_issuers=told) as world:
            answer = await exchange(world, provider.id_token())

    assert answer.status_code == 200


@pytest.mark.parametrize(("knows_the_authority", "status"), [(True, 200), (False, 503)])
async def test_a_certificate_of_the_companys_own_authority_is_believed_where_the_setting_names_it(
    tmp_path: Path, *, knows_the_authority: bool, status: int
) -> None:
    authority = Authority(tmp_path / "authority")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*authority.issue("issuer"))
    async with serving_openid_provider(tls=tls) as provider:
        told = [provider.setting(ca_file=str(authority.ca_file) if knows_the_authority else None)]
        async with gateway_world(tmp_path, external_issuers=told) as world:
            answer = await exchange(world, provider.id_token())

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"aud": "another-client"}, 401, "token_wrong_audience"),
        ({"iss": "https://somebody.example"}, 401, "token_wrong_issuer"),
        ({"exp": 1_700_000_000}, 401, "token_expired"),
        ({"iat": 1_700_000_000}, 401, "token_too_old"),
        ({"email_verified": False}, 403, "email_not_verified"),
        ({"email": None}, 403, "email_not_verified"),
    ],
)
async def test_a_token_that_is_not_good_says_why_and_makes_nobody(
    tmp_path: Path, changed: dict[str, Any], status: int, reason: str
) -> None:
    async with worlds(tmp_path) as (world, provider):
        answer = await exchange(world, provider.id_token(**changed))

    assert reason_of(answer) == (status, reason)
    assert world.identity.users == {}
    assert world.identity.sessions == {}


async def test_who_is_not_registered_stays_outside_where_the_setting_says_so(tmp_path: Path) -> None:
    async with worlds(tmp_path, setting={"registers_unknown": False}) as (world, provider):
        answer = await exchange(world, provider.id_token())

    assert reason_of(answer) == (403, "user_not_registered")


async def test_without_an_issuer_in_the_settings_every_token_is_of_a_wrong_one(tmp_path: Path) -> None:
    async with serving_openid_provider() as provider, gateway_world(tmp_path) as world:
        answer = await exchange(world, provider.id_token())

        assert provider.looks_at_keys == 0
    assert reason_of(answer) == (401, "token_wrong_issuer")


async def test_tokens_of_who_had_the_account_before_end_at_once(tmp_path: Path) -> None:
    async with worlds(tmp_path) as (world, provider):
        world.identity.add_user("ann@example.org", identity.ROLE_BUYER)
        squatter = (
            await world.http.post("/auth/login", json={"email": "ann@example.org", "password": "password"})
        ).json()

        owner = await exchange(world, provider.id_token())
        refused = await world.http.post("/auth/ticket", headers=world.bearer(squatter["access_token"]))
        let_in = await world.http.post("/auth/ticket", headers=world.bearer(owner.json()["access_token"]))

    assert reason_of(refused) == (401, "token_revoked")
    assert let_in.status_code == 201


async def test_a_token_is_good_for_as_long_as_the_setting_says(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with worlds(tmp_path, clock=clock, setting={"token_age_seconds_max": 60}) as (world, provider):
        token = provider.id_token(exp=int(clock.now().timestamp()) + 3600)
        at_once = await exchange(world, token)
        await clock.advance(60)
        again = await exchange(world, token)
        await clock.advance(31)
        late = await exchange(world, token)

    assert (at_once.status_code, again.status_code) == (200, 200)
    assert reason_of(late) == (401, "token_too_old")


async def test_who_tries_tokens_meets_the_limit_of_sign_ins(tmp_path: Path) -> None:
    limits = [{"name": "sign-in", "route_class": "auth", "per": "ip", "limit": 3, "window_seconds": 60}]
    async with worlds(tmp_path, rate_limits=limits) as (world, _):
        answers = [await exchange(world, "not.a.token") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


@pytest.mark.parametrize(
    "body", [{}, {"id_token": ""}, {"id_token": 1}, {"id_token": "x" * 8193}, {"id_token": "x", "issuer": "y"}, []]
)
async def test_a_body_of_another_shape_is_refused_at_the_door(tmp_path: Path, body: object) -> None:
    async with worlds(tmp_path) as (world, _):
        answer = await world.http.post("/auth/exchange", json=body)

    assert reason_of(answer) == (400, "validation_failed")
