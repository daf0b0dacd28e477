import base64
import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from services.runtime.errors import UnauthenticatedError, UnavailableError
from services.runtime.jwt import (
    REMEMBERED_SECONDS_MAX,
    REMEMBERED_TOKENS_MAX,
    JwtVerifier,
    Principal,
    bearer_token,
)
from services.runtime.signed_claims import LEEWAY_SECONDS, TOKEN_BYTES_MAX
from tests.support.clock import VirtualClock
from tests.support.issuer import USER_TOKEN_SECONDS, Issuer, signing_key


class KnownKeys:
    """The issuer's public keys, handed over without a network."""

    def __init__(self, *keys: RSAKey) -> None:
        self.keys = {key.kid: key for key in keys}
        self.away = False
        self.looks = 0

    async def find(self, key_id: str) -> RSAKey | None:
        self.looks += 1
        if self.away:
            raise UnavailableError("The issuer is away.")
        return self.keys.get(key_id)


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.issuer = Issuer(clock=self.clock)
        self.keys = KnownKeys(self.issuer.key)
        self.verifier = JwtVerifier(self.keys, self.issuer.issuer, "ledger", self.clock)

    def claims(self) -> dict[str, object]:
        """Show what a user's token says."""
        payload = jws.extract_compact(self.issuer.user_token("user-1").encode()).payload or b""
        return dict(json.loads(payload))

    def token(self, **changes: object) -> str:
        """Mint a user's token with other claims."""
        return self.issuer.mint({**self.claims(), **changes})

    async def refusal(self, token: str) -> str:
        with pytest.raises(UnauthenticatedError) as refused:
            await self.verifier.verify(token)
        return refused.value.reason


@pytest.fixture
def world() -> World:
    return World()


def segment(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


async def test_a_users_token_tells_its_generation_and_without_one_it_is_the_first(world: World) -> None:
    old, later = world.token(), world.token(gen=3)

    assert (await world.verifier.verify(old)).generation == 0
    assert (await world.verifier.verify(later)).generation == 3


@pytest.mark.parametrize("generation", [-1, 1.5, "1", True, [0]])
async def test_a_generation_is_a_count(world: World, generation: object) -> None:
    assert await world.refusal(world.token(gen=generation)) == "token_malformed"


async def test_a_users_token_names_its_user(world: World) -> None:
    token = world.issuer.user_token("user-1", roles=("buyer", "merchant"))

    principal = await world.verifier.verify(token)

    assert principal.subject == "user-1"
    assert principal.roles == {"buyer", "merchant"}
    assert principal.audience == "tradeflow"
    assert principal.expires_at == world.clock.now() + timedelta(seconds=USER_TOKEN_SECONDS)
    assert principal.token == token
    assert not principal.is_service


async def test_a_services_token_for_this_audience_is_a_services(world: World) -> None:
    principal = await world.verifier.verify(world.issuer.service_token("orders", audience="ledger"))

    assert principal.is_service
    assert principal.audience == "ledger"


async def test_a_user_with_a_services_role_is_no_service(world: World) -> None:
    principal = await world.verifier.verify(world.issuer.user_token("user-1", roles=("service",)))

    assert not principal.is_service


async def test_one_audience_of_several_is_enough(world: World) -> None:
    principal = await world.verifier.verify(world.issuer.user_token("user-1", aud=["elsewhere", "ledger"]))

    assert principal.audience == "ledger"


async def test_a_principals_text_does_not_show_its_token(world: World) -> None:
    token = world.issuer.user_token("user-1")

    assert token not in repr(await world.verifier.verify(token))


async def test_no_token_is_missing(world: World) -> None:
    assert await world.refusal("") == "token_missing"


@pytest.mark.parametrize(
    "garbage",
    ["x", "a.b", "a.b.c", "....", "a.b.c.d", "é.é.é", "\x00", "null", "..", f"{segment([1])}.{segment({})}.c"],
)
async def test_garbage_is_malformed(world: World, garbage: str) -> None:
    assert await world.refusal(garbage) == "token_malformed"


async def test_a_token_over_the_bound_is_malformed_before_it_is_parsed(world: World) -> None:
    token = world.issuer.user_token("user-1", padding="x" * TOKEN_BYTES_MAX)

    assert await world.refusal(token) == "token_malformed"
    assert world.keys.looks == 0


async def test_the_algorithm_none_is_forged(world: World) -> None:
    claims = segment(world.claims())
    header = {"typ": "at+jwt", "kid": world.issuer.key.kid}

    assert await world.refusal(f"{segment({**header, 'alg': 'none'})}.{claims}.") == "token_forged"
    assert await world.refusal(f"{segment({**header, 'alg': 'None'})}.{claims}.") == "token_forged"


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_forged(world: World) -> None:
    genuine = world.issuer.user_token("user-1")
    payload = jws.extract_compact(genuine.encode()).payload or b""
    header = {"alg": "HS256", "typ": "at+jwt", "kid": world.issuer.key.kid}
    signing_input = f"{segment(header)}.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}"
    signature = hmac.new(world.issuer.key.as_pem(private=False), signing_input.encode(), hashlib.sha256).digest()

    forged = f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    assert await world.refusal(forged) == "token_forged"


async def test_another_rsa_algorithm_is_forged(world: World) -> None:
    payload = jws.extract_compact(world.issuer.user_token("user-1").encode()).payload or b""
    bare_key = RSAKey.import_key(world.issuer.key.as_pem(private=True))
    header = {"alg": "RS512", "typ": "at+jwt", "kid": world.issuer.key.kid}

    assert await world.refusal(jws.serialize_compact(header, payload, bare_key, ["RS512"])) == "token_forged"


async def test_a_changed_claim_is_forged(world: World) -> None:
    header, _, signature = world.issuer.user_token("user-1").split(".")
    _, others_claims, _ = world.issuer.user_token("user-2").split(".")

    assert await world.refusal(f"{header}.{others_claims}.{signature}") == "token_forged"


async def test_a_key_that_the_issuer_does_not_have_is_forged(world: World) -> None:
    assert await world.refusal(world.issuer.mint(world.claims(), key=signing_key("of-somebody-else"))) == "token_forged"


async def test_a_foreign_key_under_a_known_id_is_forged(world: World) -> None:
    foreign = signing_key("of-somebody-else")

    assert (
        await world.refusal(world.issuer.mint(world.claims(), key=foreign, kid=world.issuer.key.kid)) == "token_forged"
    )


async def test_a_token_that_says_where_its_key_is_found_is_forged(world: World) -> None:
    foreign = signing_key("of-somebody-else")
    header = {"jku": "https://evil.test/jwks.json", "kid": world.issuer.key.kid}

    assert await world.refusal(world.issuer.mint(world.claims(), key=foreign, **header)) == "token_forged"


@pytest.mark.parametrize("header", [{"kid": None}, {"kid": ""}, {"typ": "JWT"}, {"typ": None}, {"typ": "rt+jwt"}])
async def test_a_header_of_another_kind_of_token_is_malformed(world: World, header: dict[str, object]) -> None:
    genuine = world.issuer.user_token("user-1")
    payload = jws.extract_compact(genuine.encode()).payload or b""
    fields = {"alg": "RS256", "typ": "at+jwt", "kid": world.issuer.key.kid, **header}
    fields = {name: value for name, value in fields.items() if value is not None}

    assert await world.refusal(jws.serialize_compact(fields, payload, world.issuer.key)) == "token_malformed"


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "iat", "exp", "jti"])
async def test_each_claim_that_we_rely_on_must_be_there(world: World, claim: str) -> None:
    assert await world.refusal(world.token(**{claim: None})) == "token_malformed"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("sub", 7),
        ("sub", ""),
        ("jti", ["x"]),
        ("iss", 5),
        ("aud", 5),
        ("aud", [5]),
        ("exp", "2030"),
        ("exp", True),
        ("exp", 1e300),
        ("exp", float("nan")),
        ("nbf", "now"),
        ("iat", {}),
        ("roles", "operator"),
        ("roles", [1]),
    ],
)
async def test_a_claim_of_another_type_is_malformed(world: World, claim: str, value: object) -> None:
    assert await world.refusal(world.token(**{claim: value})) == "token_malformed"


@pytest.mark.parametrize("payload", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 5000])
async def test_claims_that_are_no_object_are_malformed(world: World, payload: bytes) -> None:
    header = {"alg": "RS256", "typ": "at+jwt", "kid": world.issuer.key.kid}

    assert await world.refusal(jws.serialize_compact(header, payload, world.issuer.key)) == "token_malformed"


async def test_a_token_ends_with_its_expiry_and_the_leeway(world: World) -> None:
    token = world.issuer.user_token("user-1")
    await world.clock.advance(USER_TOKEN_SECONDS + LEEWAY_SECONDS - 1)
    assert (await world.verifier.verify(token)).subject == "user-1"

    await world.clock.advance(1)

    assert await world.refusal(token) == "token_expired"


async def test_a_remembered_token_ends_too(world: World) -> None:
    token = world.issuer.user_token("user-1")
    await world.verifier.verify(token)

    await world.clock.advance(USER_TOKEN_SECONDS + LEEWAY_SECONDS)

    assert await world.refusal(token) == "token_expired"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_a_token_from_the_future_is_not_yet_valid(world: World, claim: str) -> None:
    now = int(world.clock.now().timestamp())

    within_leeway = world.token(**{claim: now + LEEWAY_SECONDS})
    beyond = world.token(**{claim: now + LEEWAY_SECONDS + 1})

    assert (await world.verifier.verify(within_leeway)).subject == "user-1"
    assert await world.refusal(beyond) == "token_not_yet_valid"


async def test_a_token_for_another_service_has_the_wrong_audience(world: World) -> None:
    assert await world.refusal(world.issuer.service_token(audience="orders")) == "token_wrong_audience"


@pytest.mark.parametrize("issuer", ["https://evil.test", "https://issuer.test/"])
async def test_a_token_of_another_issuer_is_refused(world: World, issuer: str) -> None:
    assert await world.refusal(world.issuer.user_token("user-1", iss=issuer)) == "token_wrong_issuer"


async def test_without_keys_nobody_is_called_a_forger(world: World) -> None:
    world.keys.away = True

    with pytest.raises(UnavailableError):
        await world.verifier.verify(world.issuer.user_token("user-1"))


async def test_a_verified_token_is_remembered_for_a_while(world: World) -> None:
    token = world.issuer.user_token("user-1")
    first = await world.verifier.verify(token)
    assert await world.verifier.verify(token) is first
    assert world.keys.looks == 1

    await world.clock.advance(REMEMBERED_SECONDS_MAX)
    await world.verifier.verify(token)

    assert world.keys.looks == 2


async def test_a_withdrawn_key_stops_working_although_its_tokens_are_remembered(world: World) -> None:
    token = world.issuer.user_token("user-1")
    await world.verifier.verify(token)
    world.keys.keys.clear()

    await world.clock.advance(REMEMBERED_SECONDS_MAX)

    assert await world.refusal(token) == "token_forged"


async def test_a_refused_token_is_not_remembered(world: World) -> None:
    token = world.issuer.user_token("user-1")
    world.keys.keys.clear()
    assert await world.refusal(token) == "token_forged"

    world.keys.keys[world.issuer.key.kid] = world.issuer.key

    assert (await world.verifier.verify(token)).subject == "user-1"


def test_what_is_remembered_is_bounded(world: World) -> None:
    for number in range(REMEMBERED_TOKENS_MAX + 10):
        world.verifier._remember(f"token-{number}", a_principal(expires_in=timedelta(hours=1), world=world))

    assert len(world.verifier._remembered) == REMEMBERED_TOKENS_MAX
    assert "token-0" not in world.verifier._remembered


def a_principal(*, expires_in: timedelta, world: World) -> Principal:
    return Principal(
        subject="user-1",
        roles=frozenset(),
        audience="tradeflow",
        token_id="id",
        expires_at=world.clock.now() + expires_in,
        token="token",
    )


@pytest.mark.parametrize(
    ("header", "token"), [("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER  abc", "abc")], ids=str
)
def test_a_bearer_header_holds_a_token(header: str, token: str) -> None:
    assert bearer_token(header) == token


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "token_missing"),
        ("", "token_missing"),
        ("Basic abc", "token_malformed"),
        ("Bearer", "token_malformed"),
        ("Bearer ", "token_malformed"),
        ("Bearer a b", "token_malformed"),
        ("abc", "token_malformed"),
    ],
)
def test_another_header_holds_none(header: str | None, reason: str) -> None:
    with pytest.raises(UnauthenticatedError) as refused:
        bearer_token(header)

    assert refused.value.reason == reason
