"""What makes an ID token of another issuer good, and what is believed of it."""

import base64
import hmac
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from services.gateway.external_issuers import ExternalIssuer
from services.gateway.id_tokens import Asked, IdTokenVerifier, TrustedIssuer
from services.gateway.ports import ExternalPerson
from services.runtime.errors import UnauthenticatedError, UnavailableError
from services.runtime.signed_claims import LEEWAY_SECONDS, TOKEN_BYTES_MAX, PublicKey
from tests.support.clock import VirtualClock
from tests.support.external_issuer import external_key, id_token_of, unsigned_parts

ISSUER = "https://id.example.org/realms/staff"
CLIENT_ID = "tradeflow-console"
KEY = external_key("first")


class KnownKeys:
    """The issuer's public keys, handed over without a network."""

    def __init__(self, *keys: PublicKey) -> None:
        self.keys = {key.kid: key for key in keys}
        self.away = False

    async def find(self, key_id: str) -> PublicKey | None:
        if self.away:
            raise UnavailableError("The issuer is away.")
        return self.keys.get(key_id)


class World:
    def __init__(self, *keys: PublicKey, **setting: Any) -> None:
        self.clock = VirtualClock()
        self.keys = KnownKeys(*(keys or (KEY,)))
        issuer = ExternalIssuer(**{"name": "staff", "issuer": ISSUER, "audience": CLIENT_ID, **setting})
        self.verifier = IdTokenVerifier([TrustedIssuer(setting=issuer, keys=self.keys)], self.clock)

    @property
    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def claims(self, **changed: Any) -> dict[str, Any]:
        good = {
            "iss": ISSUER,
            "sub": "ann",
            "aud": CLIENT_ID,
            "iat": self.now,
            "exp": self.now + 3600,
            "email": "ann@example.org",
            "email_verified": True,
        }
        return {name: value for name, value in (good | changed).items() if value is not None}

    async def person(self, **changed: Any) -> ExternalPerson:
        return await self.verifier.verify(id_token_of(self.claims(**changed), KEY))

    async def refusal(self, token: str, *, asked: Asked | None = None) -> str:
        with pytest.raises(UnauthenticatedError) as refused:
            await self.verifier.verify(token, asked=asked)
        return refused.value.reason

    async def refusal_of(self, **changed: Any) -> str:
        return await self.refusal(id_token_of(self.claims(**changed), KEY))


@pytest.fixture
def world() -> World:
    return World()


async def test_a_good_token_names_a_person_who_buys(world: World) -> None:
    assert await world.person() == ExternalPerson(
        issuer=ISSUER, subject="ann", verified_email="ann@example.org", roles=("buyer",), registers_unknown=True
    )


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"])
async def test_an_issuer_may_sign_with_what_the_setting_allows_and_with_nothing_else(algorithm: str) -> None:
    key = external_key("of-" + algorithm, algorithm)
    allowing, forbidding = World(key, algorithms=[algorithm]), World(key, algorithms=["RS512"])
    token = id_token_of(allowing.claims(), key)

    assert (await allowing.verifier.verify(token)).subject == "ann"
    assert await forbidding.refusal(token) == "token_forged"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, ["RS256"]])
async def test_a_token_without_a_signature_is_forged(world: World, algorithm: object) -> None:
    header = {"alg": algorithm, "kid": KEY.kid}

    assert await world.refusal(unsigned_parts(header, world.claims()) + ".") in {"token_forged", "token_malformed"}
    assert await world.refusal(unsigned_parts(header, world.claims()) + ".AAAA") in {"token_forged", "token_malformed"}


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_forged(world: World, algorithm: str) -> None:
    signed = unsigned_parts({"alg": algorithm, "typ": "JWT", "kid": KEY.kid}, world.claims())
    digest = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    assert await world.refusal(f"{signed}.{signature}") == "token_forged"


async def test_shared_secrets_cannot_be_allowed() -> None:
    with pytest.raises(ValueError, match="algorithms"):
        World(algorithms=["HS256"])
    with pytest.raises(ValueError, match="algorithms"):
        World(algorithms=["none"])


async def test_a_changed_claim_is_forged(world: World) -> None:
    header, _, signature = id_token_of(world.claims(), KEY).split(".")
    _, others_claims, _ = id_token_of(world.claims(sub="bob"), KEY).split(".")

    assert await world.refusal(f"{header}.{others_claims}.{signature}") == "token_forged"


async def test_a_key_that_the_issuer_does_not_have_is_forged_whatever_it_is_called(world: World) -> None:
    assert await world.refusal(id_token_of(world.claims(), external_key("unknown"))) == "token_forged"
    assert await world.refusal(id_token_of(world.claims(), external_key("other"), kid="first")) == "token_forged"


async def test_a_key_that_the_token_brings_along_is_not_believed(world: World) -> None:
    stranger = external_key("stranger")
    jwk = stranger.as_dict(private=False)

    token = id_token_of(world.claims(), RSAKey.import_key({**stranger.as_dict(private=True), "kid": "first"}))
    brought = unsigned_parts({"alg": "RS256", "jwk": jwk, "kid": "first"}, world.claims()) + "." + token.split(".")[2]

    assert await world.refusal(brought) in {"token_forged", "token_malformed"}
    assert await world.refusal(token) == "token_forged"


async def test_a_key_is_good_only_for_the_algorithm_that_it_is_published_for() -> None:
    world = World(KEY, algorithms=["RS256", "RS512"])
    bare = RSAKey.import_key({**KEY.as_dict(private=True), "alg": "RS512"})

    assert await world.refusal(id_token_of(world.claims(), bare)) == "token_forged"


async def test_a_token_that_names_no_key_is_malformed(world: World) -> None:
    assert await world.refusal(id_token_of(world.claims(), KEY, kid=None)) == "token_malformed"


@pytest.mark.parametrize("issuer", ["https://id.example.org/realms/others", ISSUER + "/", "https://tradeflow.test"])
async def test_an_issuer_that_nobody_named_is_wrong(world: World, issuer: str) -> None:
    assert await world.refusal_of(iss=issuer) == "token_wrong_issuer"


async def test_without_any_issuer_nobody_comes_in(world: World) -> None:
    nobody = IdTokenVerifier([], world.clock)

    with pytest.raises(UnauthenticatedError) as refused:
        await nobody.verify(id_token_of(world.claims(), KEY))

    assert refused.value.reason == "token_wrong_issuer"


async def test_one_issuers_key_signs_nothing_for_another(world: World) -> None:
    other = ExternalIssuer(name="other", issuer="https://other.example", audience=CLIENT_ID)
    own = ExternalIssuer(name="staff", issuer=ISSUER, audience=CLIENT_ID)
    verifier = IdTokenVerifier(
        [
            TrustedIssuer(setting=own, keys=KnownKeys(KEY)),
            TrustedIssuer(setting=other, keys=KnownKeys(external_key("of-the-other"))),
        ],
        world.clock,
    )

    with pytest.raises(UnauthenticatedError) as refused:
        await verifier.verify(id_token_of(world.claims(iss="https://other.example"), KEY))

    assert refused.value.reason == "token_forged"


@pytest.mark.parametrize("audience", ["somebody-else", ["somebody-else"], "", []])
async def test_a_token_for_somebody_else_has_the_wrong_audience(world: World, audience: object) -> None:
    assert await world.refusal_of(aud=audience) == "token_wrong_audience"


async def test_of_several_audiences_the_authorized_party_must_be_us(world: World) -> None:
    several = [CLIENT_ID, "another-client"]

    assert (await world.person(aud=several, azp=CLIENT_ID)).subject == "ann"
    assert await world.refusal_of(aud=several) == "token_wrong_audience"
    assert await world.refusal_of(aud=several, azp="another-client") == "token_wrong_audience"
    assert await world.refusal_of(azp="another-client") == "token_wrong_audience"
    assert await world.refusal_of(azp=[CLIENT_ID]) == "token_wrong_audience"
    assert (await world.person(aud=[CLIENT_ID])).subject == "ann"


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"exp": -LEEWAY_SECONDS}, "token_expired"),
        ({"iat": LEEWAY_SECONDS + 1}, "token_not_yet_valid"),
        ({"nbf": LEEWAY_SECONDS + 1}, "token_not_yet_valid"),
        ({"iat": -600 - LEEWAY_SECONDS - 1}, "token_too_old"),
    ],
    ids=["expired", "issued tomorrow", "not yet", "too old"],
)
async def test_a_token_has_its_time(world: World, times: dict[str, int], reason: str) -> None:
    changed = {claim: world.now + seconds for claim, seconds in times.items()}
    a_second_better = {
        claim: at + (1 if reason in {"token_expired", "token_too_old"} else -1) for claim, at in changed.items()
    }

    assert await world.refusal_of(**changed) == reason
    assert (await world.person(**a_second_better)).subject == "ann"


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat"])
@pytest.mark.parametrize("value", [None, [1], {"a": 1}, True])
async def test_a_claim_that_is_missing_or_of_another_kind_makes_it_malformed(
    world: World, claim: str, value: object
) -> None:
    assert await world.refusal_of(**{claim: value}) == "token_malformed"


@pytest.mark.parametrize("garbage", ["x", "a.b.c", "....", "é.é.é", "\x00", "e30.e30.e30", "x" * (TOKEN_BYTES_MAX + 1)])
async def test_garbage_is_malformed(world: World, garbage: str) -> None:
    assert await world.refusal(garbage) == "token_malformed"


async def test_no_other_kind_of_token_passes_for_an_id_token(world: World) -> None:
    access_token = id_token_of(world.claims(), KEY, typ="at+jwt")
    logout_token = id_token_of(world.claims(events={"http://schemas.openid.net/event/backchannel-logout": {}}), KEY)
    keycloaks_access_token = id_token_of(world.claims(typ="Bearer"), KEY)
    with_a_critical_extension = id_token_of(world.claims(), KEY, crit=["kid"])

    for token in (access_token, logout_token, keycloaks_access_token, with_a_critical_extension):
        assert await world.refusal(token) == "token_malformed"
    assert (await world.person(typ="ID")).subject == "ann"
    assert (await world.verifier.verify(id_token_of(world.claims(), KEY, typ=None))).subject == "ann"


@pytest.mark.parametrize("verified", [None, False, "true", 1])
async def test_an_address_counts_only_when_the_issuer_has_verified_it(world: World, verified: object) -> None:
    assert (await world.person(email_verified=verified)).verified_email == ""
    assert (await world.person(email=["ann@example.org"])).verified_email == ""
    assert (await world.person(email=None)).verified_email == ""


@pytest.mark.parametrize(
    ("told", "roles"),
    [
        (["shop-sellers"], ("merchant",)),
        ("shop-sellers", ("merchant",)),
        (["finance", "shop-sellers", "chess-club"], ("merchant", "treasury")),
        (["chess-club"], ("buyer",)),
        (["operator", "treasury", "merchant"], ("buyer",)),
        ([1, None, {"shop-sellers": 1}], ("buyer",)),
        ({"shop-sellers": 1}, ("buyer",)),
        (None, ("buyer",)),
    ],
)
async def test_roles_are_what_the_setting_makes_of_the_claim_and_never_the_claims_own_word(
    told: object, roles: tuple[str, ...]
) -> None:
    world = World(roles_claim="groups", roles={"shop-sellers": "merchant", "finance": "treasury"})

    assert (await world.person(groups=told)).roles == roles


async def test_without_a_mapping_no_claim_gives_a_role(world: World) -> None:
    assert (await world.person(roles=["operator"], groups=["treasury"])).roles == ("buyer",)


async def test_a_token_that_was_asked_for_is_of_that_issuer_and_answers_that_question(world: World) -> None:
    token = id_token_of(world.claims(nonce="of-ours"), KEY)
    without_nonce = id_token_of(world.claims(), KEY)

    assert (await world.verifier.verify(token, asked=Asked(issuer=ISSUER, nonce="of-ours"))).subject == "ann"
    assert await world.refusal(token, asked=Asked(issuer=ISSUER, nonce="another")) == "token_wrong_nonce"
    assert await world.refusal(without_nonce, asked=Asked(issuer=ISSUER, nonce="of-ours")) == "token_wrong_nonce"
    elsewhere = Asked(issuer="https://other.example", nonce="of-ours")
    assert await world.refusal(token, asked=elsewhere) == "token_wrong_issuer"


async def test_keys_that_cannot_be_had_make_nobody_a_forger(world: World) -> None:
    world.keys.away = True

    with pytest.raises(UnavailableError):
        await world.person()
