import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from services.runtime import jwks as jwks_module
from services.runtime.errors import UnavailableError
from services.runtime.jwks import DOCUMENT_BYTES_MAX, JwksClient, usable_keys
from tests.support.issuer import signing_key
from tests.support.waiting import eventually

URL = "https://issuer.test/jwks.json"

PIECES_MAX = 20


class IssuersEndpoint:
    """Answers as the issuer does, or as a test says."""

    def __init__(self, *keys: RSAKey) -> None:
        self.keys = list(keys)
        self.requests = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer: Callable[[], httpx.Response] = self._key_set

    def _key_set(self) -> httpx.Response:
        return httpx.Response(200, json=KeySet(list(self.keys)).as_dict(private=False))

    async def __call__(self, _request: httpx.Request) -> httpx.Response:
        self.requests += 1
        await asyncio.sleep(0)
        await self.may_answer.wait()
        return self.answer()

    def go_away(self) -> None:
        def refuse() -> httpx.Response:
            raise httpx.ConnectError("refused")

        self.answer = refuse

    def come_back(self) -> None:
        self.answer = self._key_set


OLD = signing_key("old")
NEW = signing_key("new")


@pytest.fixture
def endpoint() -> IssuersEndpoint:
    return IssuersEndpoint(OLD)


@pytest.fixture
async def http(endpoint: IssuersEndpoint) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(endpoint)) as client:
        yield client


def client_of(http: httpx.AsyncClient, *, pause_seconds: float = 0.0, **options: Any) -> JwksClient:
    return JwksClient(URL, http=http, pause_seconds=pause_seconds, **options)


async def test_keys_are_fetched_when_first_needed(endpoint: IssuersEndpoint, http: httpx.AsyncClient) -> None:
    client = client_of(http)
    assert endpoint.requests == 0

    key = await client.find("old")

    assert key is not None
    assert key.as_dict(private=False)["n"] == OLD.as_dict(private=False)["n"]
    assert endpoint.requests == 1


async def test_known_keys_need_no_further_request(endpoint: IssuersEndpoint, http: httpx.AsyncClient) -> None:
    client = client_of(http)

    for _ in range(5):
        await client.find("old")

    assert endpoint.requests == 1


async def test_many_callers_at_once_cause_one_request(endpoint: IssuersEndpoint, http: httpx.AsyncClient) -> None:
    client = client_of(http)

    keys = await asyncio.gather(*(client.find("old") for _ in range(50)))

    assert all(key is not None for key in keys)
    assert endpoint.requests == 1


async def test_a_new_key_is_found_by_its_unknown_id(endpoint: IssuersEndpoint, http: httpx.AsyncClient) -> None:
    client = client_of(http)
    await client.find("old")
    endpoint.keys.append(NEW)

    assert await client.find("new") is not None
    assert endpoint.requests == 2


async def test_made_up_ids_do_not_become_requests(endpoint: IssuersEndpoint, http: httpx.AsyncClient) -> None:
    client = client_of(http, pause_seconds=60)
    await client.find("old")

    for number in range(20):
        assert await client.find(f"made-up-{number}") is None

    assert endpoint.requests == 1


async def test_an_issuer_that_goes_away_does_not_matter_to_who_has_its_keys(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient
) -> None:
    client = client_of(http, fresh_seconds=0)
    await client.find("old")
    endpoint.go_away()

    assert await client.find("old") is not None
    await client.check_ready()


async def test_nobody_is_called_a_forger_for_a_key_that_may_be_new_while_the_issuer_is_away(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient
) -> None:
    client = client_of(http)
    await client.find("old")
    endpoint.go_away()
    with pytest.raises(UnavailableError):
        await client.find("new")
    endpoint.come_back()

    assert await client.find("new") is None


async def test_without_any_keys_it_says_so(endpoint: IssuersEndpoint, http: httpx.AsyncClient) -> None:
    endpoint.go_away()
    client = client_of(http)

    with pytest.raises(UnavailableError):
        await client.find("old")
    with pytest.raises(UnavailableError):
        await client.check_ready()


async def test_an_issuer_that_comes_back_is_found(endpoint: IssuersEndpoint, http: httpx.AsyncClient) -> None:
    endpoint.go_away()
    client = client_of(http)
    with pytest.raises(UnavailableError):
        await client.find("old")

    endpoint.come_back()

    assert await client.find("old") is not None


async def test_an_issuer_that_starts_after_its_first_caller_is_found_at_once(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient
) -> None:
    client = client_of(http, pause_seconds=3600)
    endpoint.go_away()
    with pytest.raises(UnavailableError):
        await client.find("old")
    endpoint.come_back()

    assert await client.find("old") is not None


async def test_many_callers_of_an_issuer_that_is_away_share_a_request(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient
) -> None:
    client = client_of(http, pause_seconds=3600)
    endpoint.go_away()

    await asyncio.gather(*(client.find("old") for _ in range(20)), return_exceptions=True)

    assert endpoint.requests == 1


async def test_a_caller_that_leaves_does_not_make_forgers_of_those_who_wait_with_it(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient
) -> None:
    client = client_of(http)
    await client.find("old")
    endpoint.keys.append(NEW)
    endpoint.may_answer.clear()
    impatient = asyncio.create_task(client.find("new"))
    others = [asyncio.create_task(client.find("new")) for _ in range(3)]
    await eventually(lambda: endpoint.requests == 2)

    impatient.cancel()
    await asyncio.wait({impatient})
    endpoint.may_answer.set()

    assert all(key is not None for key in await asyncio.gather(*others))
    assert endpoint.requests == 2


async def test_a_key_set_that_comes_in_drops_is_given_up(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    monkeypatch.setattr(jwks_module, "FETCH_SECONDS_MAX", 0.1)
    endpoint.answer = lambda: httpx.Response(200, content=drops())

    async with asyncio.timeout(5):
        with pytest.raises(UnavailableError):
            await client_of(http).find("old")


async def test_a_withdrawn_key_is_dropped_by_a_refresh_behind_the_callers_back(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient
) -> None:
    client = client_of(http, fresh_seconds=0)
    await client.find("old")
    endpoint.keys = [NEW]

    async def the_old_key_is_gone() -> bool:
        return await client.find("old") is None

    assert not await the_old_key_is_gone()
    await eventually(the_old_key_is_gone)

    assert await client.find("new") is not None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(404, json={"keys": []}),
        httpx.Response(200, content=b"not JSON"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"keys": "x"}),
        httpx.Response(200, json={"keys": [{"kty": "RSA"}]}),
        httpx.Response(200, json={"keys": [], "padding": "x" * DOCUMENT_BYTES_MAX}),
        httpx.Response(200, content=b"[" * 100_000),
    ],
    ids=range(9),
)
async def test_an_answer_that_is_no_key_set_changes_nothing(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient, answer: httpx.Response
) -> None:
    client = client_of(http)
    await client.find("old")
    endpoint.answer = lambda: answer

    with pytest.raises(UnavailableError):
        await client.find("unknown")
    assert await client.find("old") is not None


class Pieces(httpx.AsyncByteStream):
    """An answer that goes on for long, and counts what is read of it."""

    def __init__(self) -> None:
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(PIECES_MAX):
            self.read += 1
            yield b" " * (DOCUMENT_BYTES_MAX // 2)


async def test_of_an_answer_without_an_end_no_more_is_read_than_a_key_set_may_have(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient
) -> None:
    client = client_of(http)
    pieces = Pieces()
    endpoint.answer = lambda: httpx.Response(200, stream=pieces)

    with pytest.raises(UnavailableError):
        await client.check_ready()

    assert pieces.read == 3


def test_only_rsa_keys_for_signatures_are_usable() -> None:
    good = RSAKey.import_key(OLD.as_dict(private=False))
    bad: list[Any] = [
        RSAKey.import_key({**OLD.as_dict(private=False), "kid": "encrypts", "use": "enc"}),
        RSAKey.import_key({**OLD.as_dict(private=False), "kid": "other-algorithm", "alg": "RS512"}),
        ECKey.generate_key("P-256", {"kid": "ec"}, private=False),
        OctKey.generate_key(256, {"kid": "shared-secret"}),
    ]

    assert set(usable_keys(KeySet([good, *bad]))) == {"old"}


@pytest.mark.parametrize(
    ("algorithm", "usable"),
    [
        ("RS256", {"rsa", "rsa-256"}),
        ("PS512", {"rsa"}),
        ("ES256", {"p-256"}),
        ("ES384", {"p-384"}),
        ("EdDSA", {"ed25519"}),
        ("Ed25519", {"ed25519"}),
        ("HS256", set()),
        ("none", set()),
    ],
)
def test_each_algorithm_has_its_own_kind_of_key(algorithm: str, usable: set[str]) -> None:
    members = OLD.as_dict(private=False)
    keys: list[Any] = [
        RSAKey.import_key({name: value for name, value in members.items() if name != "alg"} | {"kid": "rsa"}),
        RSAKey.import_key({**members, "kid": "rsa-256"}),
        ECKey.generate_key("P-256", {"kid": "p-256"}, private=False),
        ECKey.generate_key("P-384", {"kid": "p-384"}, private=False),
        OKPKey.generate_key("Ed25519", {"kid": "ed25519"}, private=False),
        OKPKey.generate_key("X25519", {"kid": "x25519"}, private=False),
        OctKey.generate_key(256, {"kid": "shared-secret"}),
    ]

    assert set(usable_keys(KeySet(keys), [algorithm])) == usable


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param({"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA"}, id="kind"),
        pytest.param({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}, id="curve"),
        pytest.param({**OLD.as_dict(private=False), "use": "x509-svid"}, id="use"),
        pytest.param({**OLD.as_dict(private=False), "key_ops": ["attest"]}, id="operation"),
        pytest.param({"kty": "RSA", "e": "AQAB"}, id="incomplete"),
        pytest.param({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, id="no point"),
        pytest.param({}, id="nothing"),
    ],
)
async def test_keys_that_nobody_here_knows_do_not_hide_the_others(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient, stranger: dict[str, object]
) -> None:
    known = KeySet([OLD]).as_dict(private=False)["keys"]
    endpoint.answer = lambda: httpx.Response(200, json={"keys": [{**stranger, "kid": "strange"}, *known]})
    client = client_of(http)

    assert await client.find("old") is not None
    assert await client.find("strange") is None


async def test_an_issuer_of_others_that_is_away_is_not_asked_for_each_caller(
    endpoint: IssuersEndpoint, http: httpx.AsyncClient
) -> None:
    client = client_of(http, first_pause_seconds=3600)
    endpoint.go_away()

    for _ in range(5):
        with pytest.raises(UnavailableError):
            await client.find("old")

    assert endpoint.requests == 1


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_short_key_is_not_usable() -> None:
    assert usable_keys(KeySet([RSAKey.generate_key(1024, {"kid": "short"})])) == {}


async def test_closing_ends_a_refresh_under_way(endpoint: IssuersEndpoint, http: httpx.AsyncClient) -> None:
    client = client_of(http, fresh_seconds=0)
    await client.find("old")
    await client.find("old")

    await client.aclose()

    assert endpoint.requests == 1
