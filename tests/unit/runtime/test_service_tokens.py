import asyncio
import base64
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import httpx
import pytest

from services.runtime import service_tokens
from services.runtime.errors import UnavailableError
from services.runtime.service_tokens import RENEW_BEFORE_SECONDS, ServiceTokens
from tests.support.clock import VirtualClock
from tests.support.issuer import running_issuer

SECRET = "correct horse battery staple"
LIFETIME_SECONDS = 300


class TokenEndpoint:
    """Answers `token-1`, `token-2`, … and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answer: httpx.Response | Exception | None = None
        self.lifetime_seconds = LIFETIME_SECONDS

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        token = {"access_token": f"token-{len(self.requests)}", "token_type": "Bearer"}
        return self.answer or httpx.Response(200, json={**token, "expires_in": self.lifetime_seconds})


@pytest.fixture
def endpoint() -> TokenEndpoint:
    return TokenEndpoint()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def tokens(endpoint: TokenEndpoint, clock: VirtualClock) -> AsyncIterator[ServiceTokens]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(endpoint)) as http:
        yield ServiceTokens("https://issuer.test/oauth/token", "orders", SECRET, clock, http=http)


async def test_it_asks_as_the_client_for_one_audience(tokens: ServiceTokens, endpoint: TokenEndpoint) -> None:
    assert await tokens.token_for("ledger") == "token-1"

    request = endpoint.requests[0]
    credentials = base64.b64encode(f"orders:{SECRET}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {credentials}"
    assert parse_qs(request.content.decode()) == {"grant_type": ["client_credentials"], "audience": ["ledger"]}


async def test_many_callers_at_once_cause_one_request(tokens: ServiceTokens, endpoint: TokenEndpoint) -> None:
    assert set(await asyncio.gather(*(tokens.token_for("ledger") for _ in range(50)))) == {"token-1"}

    assert len(endpoint.requests) == 1


async def test_many_callers_of_an_issuer_that_is_away_wait_for_one_request_and_not_for_each_others(
    tokens: ServiceTokens, endpoint: TokenEndpoint
) -> None:
    endpoint.answer = httpx.ConnectError("refused")

    errors = await asyncio.gather(*(tokens.token_for("ledger") for _ in range(50)), return_exceptions=True)

    assert all(isinstance(error, UnavailableError) for error in errors)
    assert len(endpoint.requests) == 1


async def test_an_answer_that_comes_in_drops_is_given_up(
    tokens: ServiceTokens, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    monkeypatch.setattr(service_tokens, "FETCH_SECONDS_MAX", 0.1)
    endpoint.answer = httpx.Response(200, content=drops())

    async with asyncio.timeout(5):
        with pytest.raises(UnavailableError):
            await tokens.token_for("ledger")


async def test_each_audience_has_its_own_token(tokens: ServiceTokens) -> None:
    assert await tokens.token_for("ledger") != await tokens.token_for("orders")


async def test_a_token_is_renewed_shortly_before_it_ends(tokens: ServiceTokens, clock: VirtualClock) -> None:
    await tokens.token_for("ledger")

    await clock.advance(LIFETIME_SECONDS - RENEW_BEFORE_SECONDS - 1)
    assert await tokens.token_for("ledger") == "token-1"

    await clock.advance(1)
    assert await tokens.token_for("ledger") == "token-2"


async def test_a_token_with_a_short_life_is_still_kept_for_half_of_it(
    tokens: ServiceTokens, endpoint: TokenEndpoint, clock: VirtualClock
) -> None:
    endpoint.lifetime_seconds = 20
    await tokens.token_for("ledger")

    await clock.advance(9)
    assert await tokens.token_for("ledger") == "token-1"

    await clock.advance(1)
    assert await tokens.token_for("ledger") == "token-2"


async def test_a_refused_token_can_be_forgotten(tokens: ServiceTokens) -> None:
    await tokens.token_for("ledger")

    tokens.forget("ledger")

    assert await tokens.token_for("ledger") == "token-2"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(401, json={"error": "invalid_client"}),
        httpx.Response(503),
        httpx.Response(200, content=b"no JSON"),
        httpx.Response(200, json={"token": "x"}),
    ],
    ids=range(6),
)
async def test_without_an_answer_it_says_so_and_keeps_the_secret(
    tokens: ServiceTokens, endpoint: TokenEndpoint, answer: httpx.Response | Exception
) -> None:
    endpoint.answer = answer

    with pytest.raises(UnavailableError) as failed:
        await tokens.token_for("ledger")

    assert failed.value.reason == "issuer_unavailable"
    assert SECRET not in failed.value.message


async def test_an_issuer_that_comes_back_is_asked_again(tokens: ServiceTokens, endpoint: TokenEndpoint) -> None:
    endpoint.answer = httpx.ConnectError("refused")
    with pytest.raises(UnavailableError):
        await tokens.token_for("ledger")

    endpoint.answer = None

    assert await tokens.token_for("ledger") == "token-2"


async def test_over_real_http_it_gets_the_issuers_token(clock: VirtualClock) -> None:
    async with running_issuer(clock=clock) as issuer:
        tokens = ServiceTokens(issuer.token_url, "orders", SECRET, clock)

        token = await tokens.token_for("ledger")

        await tokens.aclose()
        assert token.count(".") == 2
