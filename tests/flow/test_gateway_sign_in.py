"""Registration, sign-in, refresh, sign-out, tickets and service tokens, through a running gateway."""

from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from services.gateway.inbound.console_session import COOKIE
from services.gateway.inbound.token_api import FORM_BYTES_MAX
from tests.support.clock import VirtualClock
from tests.support.gateway_world import ISSUER, ORDERS_SECRET, GatewayWorld, gateway_world, signing_jwk, write_keys
from tests.support.waiting import eventually

ANNE = {"email": "anne@example.org", "password": "correct horse"}


async def sign_in(world: GatewayWorld) -> dict[str, str]:
    await world.http.post("/auth/register", json={**ANNE, "role": "buyer"})
    tokens: dict[str, str] = (await world.http.post("/auth/login", json=ANNE)).json()
    return tokens


async def test_a_user_registers_and_signs_in_with_a_token_that_the_public_keys_verify(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        registered = await world.http.post("/auth/register", json={**ANNE, "role": "merchant"})
        signed_in = await world.http.post("/auth/login", json=ANNE)
        jwks = await world.http.get("/.well-known/jwks.json")

    assert registered.status_code == 201
    assert registered.json()["roles"] == ["merchant"]
    assert signed_in.status_code == 200
    assert signed_in.headers["cache-control"] == "no-store"
    body = signed_in.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 600)
    token = jwt.decode(body["access_token"], KeySet.import_key_set(jwks.json()), algorithms=["RS256"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["sub"] == registered.json()["user_id"]
    assert (token.claims["iss"], token.claims["aud"]) == (ISSUER, "tradeflow")
    assert token.claims["exp"] - token.claims["iat"] == 600


async def test_the_public_keys_may_be_cached_and_hold_no_private_part(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answer = await world.http.get("/.well-known/jwks.json")

    assert answer.headers["cache-control"] == "public, max-age=60"
    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "use", "alg", "kid", "n", "e"}


async def test_other_software_finds_the_keys_by_discovery(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        document = await world.http.get("/.well-known/openid-configuration")
        said = document.json()
        keys = (await world.http.get(said["jwks_uri"].removeprefix(said["issuer"]))).json()

    assert document.headers["cache-control"] == "public, max-age=60"
    assert said["issuer"] == ISSUER
    assert keys["keys"][0]["kid"] == world.keys.current.active.key_id


async def test_registration_grants_neither_treasury_nor_operator(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answers = [
            await world.http.post("/auth/register", json={**ANNE, "role": role}) for role in ("treasury", "operator")
        ]

        assert [answer.status_code for answer in answers] == [400, 400]
        assert world.identity.users == {}


async def test_a_refused_registration_says_why(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.http.post("/auth/register", json={**ANNE, "role": "buyer"})

        again = await world.http.post("/auth/register", json={**ANNE, "role": "buyer"})

    assert (again.status_code, again.json()["reason"]) == (409, "email_taken")
    assert again.headers["content-type"] == "application/problem+json"


async def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.http.post("/auth/register", json={**ANNE, "role": "buyer"})

        wrong = await world.http.post("/auth/login", json={**ANNE, "password": "wrong"})
        unknown = await world.http.post("/auth/login", json={**ANNE, "email": "nobody@example.org"})

    assert wrong.status_code == 401
    assert wrong.json() == unknown.json()
    assert wrong.json()["reason"] == "bad_credentials"


async def guess(world: GatewayWorld, email: str = ANNE["email"], *, network: str = "203.0.113.9") -> httpx.Response:
    return await world.http.post(
        "/auth/login", json={"email": email, "password": "a guess"}, headers={"X-Forwarded-For": network}
    )


async def test_guessing_one_accounts_password_ends_in_429_whether_it_is_there_or_not(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, sign_in_network_failures_max=3) as world:
        await world.http.post("/auth/register", json={**ANNE, "role": "buyer"})

        known = [await guess(world) for _ in range(5)]
        unknown = [await guess(world, "nobody@example.org") for _ in range(5)]
        spelled = await guess(world, " ANNE@Example.org ")
        right = await world.http.post("/auth/login", json=ANNE)

    assert [answer.status_code for answer in known] == [401, 401, 401, 429, 429]
    assert [answer.status_code for answer in unknown] == [401, 401, 401, 429, 429]
    assert known[-1].json() == unknown[-1].json()
    assert known[-1].json()["reason"] == "rate_limited"
    assert 1 <= int(known[-1].headers["Retry-After"]) <= 300
    assert (spelled.status_code, right.status_code) == (429, 429)
    assert world.identity.calls.count("Authenticate") == 6


async def test_right_passwords_and_an_orders_that_is_away_use_nothing_up(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, sign_in_network_failures_max=2, sign_in_account_failures_max=2) as world:
        await world.http.post("/auth/register", json={**ANNE, "role": "buyer"})
        wrong = await guess(world)
        signed_in = [await world.http.post("/auth/login", json=ANNE) for _ in range(4)]
        world.identity.is_down = True
        away = [await world.http.post("/auth/login", json=ANNE) for _ in range(3)]
        world.identity.is_down = False
        last = [await guess(world), await guess(world)]

    assert {answer.status_code for answer in signed_in} == {200}
    assert {answer.status_code for answer in away} == {503}
    assert [answer.status_code for answer in (wrong, *last)] == [401, 401, 429]


async def test_who_guesses_in_one_network_shuts_nobody_out_elsewhere_nor_who_is_signed_in(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, sign_in_network_failures_max=2, trusted_proxies=["127.0.0.0/8"]) as world:
        tokens = await sign_in(world)
        guesses = [await guess(world) for _ in range(4)]
        elsewhere = await world.http.post("/auth/login", json=ANNE, headers={"X-Forwarded-For": "198.51.100.7"})
        refreshed = await world.http.post(
            "/auth/refresh",
            json={"refresh_token": tokens["refresh_token"]},
            headers={"X-Forwarded-For": "203.0.113.9"},
        )

    assert guesses[-1].status_code == 429
    assert (elsewhere.status_code, refreshed.status_code) == (200, 200)


SIGN_IN_LIMIT = {"name": "sign-in", "route_class": "auth", "per": "ip", "limit": 3, "window_seconds": 3600}
ADDRESS_LIMIT = {"name": "address", "route_class": "any", "per": "ip", "limit": 9, "window_seconds": 3600}


async def test_who_stays_signed_in_uses_up_nobodys_sign_ins_at_the_same_address(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, rate_limits=[SIGN_IN_LIMIT]) as world:
        tokens = await sign_in(world)
        refreshed = []
        for _ in range(5):
            answer = await world.http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
            refreshed.append(answer.status_code)
            tokens = answer.json()
        guesses = [await guess(world) for _ in range(2)]

    assert refreshed == [200] * 5
    assert [answer.status_code for answer in guesses] == [401, 429]


async def test_renewals_of_one_address_are_limited_as_all_its_calls_are(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, rate_limits=[SIGN_IN_LIMIT, ADDRESS_LIMIT]) as world:
        made_up = [await world.http.post("/auth/refresh", json={"refresh_token": f"t{n}"}) for n in range(11)]

    assert [answer.status_code for answer in made_up] == [401] * 9 + [429] * 2


async def test_guesses_from_many_networks_are_counted_together(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, sign_in_account_failures_max=4, trusted_proxies=["127.0.0.0/8"]) as world:
        answers = [await guess(world, network=f"203.0.113.{number}") for number in range(6)]
        other = await guess(world, "bob@example.org")

    assert [answer.status_code for answer in answers] == [401] * 4 + [429] * 2
    assert other.status_code == 401


async def test_the_consoles_door_counts_the_same_guesses(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, sign_in_network_failures_max=2) as world:
        here = {"Origin": world.gateway.http_url}
        answers = [await world.http.post("/console/session", json={**ANNE, "password": "x"}, headers=here)]
        answers += [await guess(world), await guess(world)]
        answers += [await world.http.post("/console/session", json=ANNE, headers=here)]

    assert [answer.status_code for answer in answers] == [401, 401, 429, 429]


async def test_a_refresh_gives_a_new_pair_and_the_old_refresh_token_ends_the_session(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        first = await sign_in(world)

        second = await world.http.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
        reused = await world.http.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
        after = await world.http.post("/auth/refresh", json={"refresh_token": second.json()["refresh_token"]})

    assert second.status_code == 200
    assert second.json()["access_token"] != first["access_token"]
    assert (reused.status_code, reused.json()["reason"]) == (401, "refresh_token_reused")
    assert after.status_code == 401


async def test_signing_out_revokes_the_access_token_and_ends_the_session(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        tokens = await sign_in(world)
        bearer = world.bearer(tokens["access_token"])
        assert (await world.http.get("/api/v1/orders", headers=bearer)).status_code == 200

        out = await world.http.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]}, headers=bearer)
        after = await world.http.get("/api/v1/orders", headers=bearer)
        refreshed = await world.http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})

    assert out.status_code == 204
    assert (after.status_code, after.json()["reason"]) == (401, "token_revoked")
    assert refreshed.status_code == 401


async def test_signing_out_everywhere_ends_each_session_and_each_token_in_all_replicas(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.another_gateway() as other:
        here, elsewhere = await sign_in(world), await sign_in(world)

        out = await world.http.post("/auth/logout-everywhere", headers=world.bearer(here["access_token"]))
        tried = [
            await world.http.get(f"{gateway.http_url}/api/v1/orders", headers=world.bearer(tokens["access_token"]))
            for gateway in (world.gateway, other)
            for tokens in (here, elsewhere)
        ]
        refreshed = [
            await world.http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
            for tokens in (here, elsewhere)
        ]

    assert out.status_code == 204
    assert {(answer.status_code, answer.json()["reason"]) for answer in tried} == {(401, "token_revoked")}
    assert {answer.status_code for answer in refreshed} == {401}


async def test_who_signs_in_in_the_second_of_signing_out_everywhere_gets_in(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with gateway_world(tmp_path, clock=clock) as world:
        before = await sign_in(world)
        await world.http.post("/auth/logout-everywhere", headers=world.bearer(before["access_token"]))

        after = await sign_in(world)
        old = await world.http.get("/api/v1/orders", headers=world.bearer(before["access_token"]))
        new = await world.http.get("/api/v1/orders", headers=world.bearer(after["access_token"]))
        refreshed = await world.http.post("/auth/refresh", json={"refresh_token": after["refresh_token"]})

    assert (old.status_code, new.status_code, refreshed.status_code) == (401, 200, 200)


async def test_nobody_is_told_to_be_signed_out_everywhere_while_orders_is_away(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        tokens = await sign_in(world)
        world.identity.is_down = True

        answer = await world.http.post("/auth/logout-everywhere", headers=world.bearer(tokens["access_token"]))

    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_who_asks_for_a_new_password_learns_nothing_and_is_bounded(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.http.post("/auth/register", json={**ANNE, "role": "buyer"})
        answers = {
            email: [await world.http.post("/auth/password-reset", json={"email": email}) for _ in range(6)]
            for email in (ANNE["email"], "nobody@example.org")
        }

    known, unknown = answers.values()
    assert [answer.status_code for answer in known] == [202] * 5 + [429]
    assert [answer.status_code for answer in unknown] == [202] * 5 + [429]
    assert known[0].json() == unknown[0].json() == {"expires_in": 1800}
    assert world.identity.forgotten == [ANNE["email"]] * 5 + ["nobody@example.org"] * 5


async def test_a_new_password_ends_what_the_old_one_began_and_signs_in(tmp_path: Path) -> None:
    new = {"token": "given", "password": "another horse"}
    async with gateway_world(tmp_path) as world, world.another_gateway() as other:
        tokens = await sign_in(world)
        world.identity.resets = {"given": ANNE["email"]}

        done = await world.http.post("/auth/password-reset/confirm", json=new)
        again = await world.http.post("/auth/password-reset/confirm", json=new)
        after = [
            await world.http.get(f"{gateway.http_url}/api/v1/orders", headers=world.bearer(tokens["access_token"]))
            for gateway in (world.gateway, other)
        ]
        refreshed = await world.http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        signed_in = await world.http.post("/auth/login", json={**ANNE, "password": "another horse"})
        bearer = world.bearer(signed_in.json()["access_token"])
        back = await world.http.get("/api/v1/orders", headers=bearer)

    assert done.status_code == 204
    assert (again.status_code, again.json()["reason"]) == (401, "reset_token_unknown")
    assert {(answer.status_code, answer.json()["reason"]) for answer in after} == {(401, "token_revoked")}
    assert (refreshed.status_code, signed_in.status_code, back.status_code) == (401, 200, 200)


async def test_a_revocation_holds_in_the_other_replicas_and_after_redis_was_emptied(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.another_gateway() as other:
        tokens = await sign_in(world)
        bearer = world.bearer(tokens["access_token"])
        await world.http.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]}, headers=bearer)
        there = f"{other.http_url}/api/v1/orders"

        heard = await world.http.get(there, headers=bearer)
        world.redis.stop()
        world.redis.start()

        async with world.another_gateway() as newcomer:
            after = await world.http.get(f"{newcomer.http_url}/api/v1/orders", headers=bearer)

    assert heard.status_code == 401
    assert (after.status_code, after.json()["reason"]) == (401, "token_revoked")


async def test_when_nothing_tells_of_revocations_the_setting_decides(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.redis.stop()
        world.identity.is_down = True

        async with (
            world.another_gateway() as open_one,
            world.another_gateway(revocation_failure_mode="closed") as closed,
        ):
            opened = await world.http.get(f"{open_one.http_url}/api/v1/orders", headers=world.bearer())
            refused = await world.http.get(f"{closed.http_url}/api/v1/orders", headers=world.bearer())

    assert opened.status_code == 200
    assert (refused.status_code, refused.json()["reason"]) == (503, "revocations_unavailable")
    assert int(refused.headers["retry-after"]) >= 1


async def test_sign_in_says_to_come_back_while_orders_is_away(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.identity.is_down = True

        answer = await world.http.post("/auth/login", json=ANNE)

    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_where_orders_does_not_take_the_gateways_token_nobody_is_signed_out_or_taken_for_a_guesser(
    tmp_path: Path,
) -> None:
    async with gateway_world(tmp_path, issuer="https://misspelled.example") as world:
        world.identity.add_user("a@shop.example")
        body = {"email": "a@shop.example", "password": "password"}
        sign_ins = [await world.http.post("/auth/login", json=body) for _ in range(12)]
        refresh = await world.http.post("/auth/refresh", json={"refresh_token": "theirs"})
        renewal = await world.http.post(
            "/console/session/renewal",
            headers={"Origin": world.gateway.http_url, "Sec-Fetch-Site": "same-origin", "Cookie": f"{COOKIE}=theirs"},
        )

    told = {(answer.status_code, answer.json()["reason"]) for answer in (*sign_ins, refresh, renewal)}
    assert told == {(503, "gateway_not_trusted")}
    assert "Set-Cookie" not in renewal.headers


async def test_a_ticket_is_for_people(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        nobody = await world.http.post("/auth/ticket")
        user = await world.http.post("/auth/ticket", headers=world.bearer())

    assert nobody.status_code == 401
    assert user.status_code == 201
    assert user.json()["expires_in"] == 30
    assert user.headers["cache-control"] == "no-store"


async def ask_for_service_token(
    world: GatewayWorld, *, client_id: str = "orders", secret: str = ORDERS_SECRET, **form: str
) -> tuple[int, dict[str, Any]]:
    fields = {"grant_type": "client_credentials", "audience": "ledger", **form}
    answer = await world.http.post("/oauth/token", data=fields, auth=(client_id, secret))
    return answer.status_code, answer.json()


async def test_a_client_gets_a_token_for_the_service_it_calls(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        status, body = await ask_for_service_token(world)
        keys = KeySet.import_key_set((await world.http.get("/.well-known/jwks.json")).json())

    assert status == 200
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 300)
    claims = jwt.decode(body["access_token"], keys, algorithms=["RS256"]).claims
    assert (claims["sub"], claims["aud"], claims["roles"]) == ("orders", "ledger", ["service"])


async def test_a_client_with_a_wrong_name_or_secret_gets_nothing(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answers = [
            await ask_for_service_token(world, secret="wrong"),
            await ask_for_service_token(world, client_id="ledger"),
            await ask_for_service_token(world, client_id="gateway"),
            await ask_for_service_token(world, client_id="", secret=""),
        ]
        without = await world.http.post("/oauth/token", data={"grant_type": "client_credentials"})
        garbled = await world.http.post("/oauth/token", data={}, headers={"Authorization": "Basic %%%"})

    assert {(status, body["error"], body["reason"]) for status, body in answers} == {
        (401, "invalid_client", "invalid_client")
    }
    assert without.status_code == garbled.status_code == 401
    assert without.headers["www-authenticate"].startswith("Basic")


async def test_a_strangers_long_form_is_not_parsed(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        long, _ = await ask_for_service_token(world, scope="x" * FORM_BYTES_MAX)
        stranger, body = await ask_for_service_token(world, secret="wrong", scope="x" * FORM_BYTES_MAX)
        short, _ = await ask_for_service_token(world, scope="x" * (FORM_BYTES_MAX // 2))

    assert (long, stranger, short) == (413, 413, 200)
    assert body["reason"] == "body_too_large"


async def test_a_client_gets_no_token_for_a_service_that_it_does_not_call(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answers = [await ask_for_service_token(world, audience=audience) for audience in ("orders", "tradeflow", "")]
        grant = await ask_for_service_token(world, grant_type="password")

    assert [(status, body["error"]) for status, body in answers] == [(400, "invalid_target")] * 3
    assert (grant[0], grant[1]["error"]) == (400, "unsupported_grant_type")


async def test_a_service_token_opens_no_public_route(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        _, body = await ask_for_service_token(world)

        answer = await world.http.get("/api/v1/orders", headers=world.bearer(body["access_token"]))

    assert (answer.status_code, answer.json()["reason"]) == (401, "token_wrong_audience")


async def test_a_rotated_key_signs_new_tokens_while_old_ones_stay_good(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        before = await sign_in(world)

        old_key = world.keys.current.active.key_id
        write_rotated_keys(tmp_path)
        await eventually(lambda: signs_with_another_key(world, old_key))
        answer = await world.http.get("/api/v1/orders", headers=world.bearer(before["access_token"]))

    assert answer.status_code == 200


def write_rotated_keys(folder: Path) -> None:
    retiring = {**signing_jwk(), "status": "retiring"}
    write_keys(folder / "keys", retiring, signing_jwk("second"))


async def signs_with_another_key(world: GatewayWorld, old_key_id: str) -> bool:
    token = (await world.http.post("/auth/login", json=ANNE)).json()["access_token"]
    keys = KeySet.import_key_set((await world.http.get("/.well-known/jwks.json")).json())
    assert len(keys.keys) in {1, 2}
    header = jwt.decode(token, keys, algorithms=["RS256"]).header
    return bool(header["kid"] != old_key_id)
