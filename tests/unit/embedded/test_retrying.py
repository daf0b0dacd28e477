"""Another try: only where it is safe and may help, and not for ever."""

import pytest

from services.embedded.retrying import PAUSE_SECONDS_MAX, pause_seconds, retrying
from services.runtime.errors import (
    ConflictError,
    KeyReusedError,
    RateLimitedError,
    RefusedError,
    TradeFlowError,
    UnavailableError,
)


class Server:
    """Fails with these errors, one a call, and then answers."""

    def __init__(self, *errors: TradeFlowError) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def call(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


def unavailable() -> UnavailableError:
    return UnavailableError("away", retry_after_seconds=0)


async def test_a_call_is_repeated_until_the_server_answers() -> None:
    server = Server(unavailable(), RateLimitedError("slowly", retry_after_seconds=0), unavailable())

    assert await retrying(server.call) == "answer"
    assert server.calls == 4


async def test_a_request_in_flight_is_asked_for_again() -> None:
    server = Server(ConflictError("still working", reason="request_in_flight"))

    assert await retrying(server.call) == "answer"


@pytest.mark.parametrize("error", [RefusedError("no"), KeyReusedError("another"), ConflictError("taken")])
async def test_a_refusal_is_not_repeated(error: TradeFlowError) -> None:
    server = Server(error)

    with pytest.raises(type(error)):
        await retrying(server.call)

    assert server.calls == 1


async def test_a_server_that_stays_away_is_given_up() -> None:
    server = Server(*(unavailable() for _ in range(10)))

    with pytest.raises(UnavailableError):
        await retrying(server.call, attempts_max=3)

    assert server.calls == 3


def test_a_pause_follows_the_server_within_a_bound() -> None:
    asked = [pause_seconds(UnavailableError("away", retry_after_seconds=2), attempt) for attempt in range(1, 20)]

    assert all(2 <= pause <= PAUSE_SECONDS_MAX for pause in asked)
    assert pause_seconds(UnavailableError("away", retry_after_seconds=3_600), 1) == PAUSE_SECONDS_MAX
