"""A request that says how long its caller waits is ended then, with an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from litestar import get

from services.runtime.budget import seconds_for_a_call
from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_server import serving_http

LONG_SECONDS = 3_600.0


class Slow:
    """A route that answers when a test lets it, and one that tells how long calls may take."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.began = 0
        self.left_alone = 0

    @asynccontextmanager
    async def serving(self, *, trusts_budgets: bool = True) -> AsyncIterator[httpx.AsyncClient]:
        @get("/slow")
        async def slow() -> str:
            self.began += 1
            try:
                await self.may_answer.wait()
            except asyncio.CancelledError:
                self.left_alone += 1
                raise
            return "done"

        @get("/seconds")
        async def seconds() -> dict[str, float]:
            return {"seconds": seconds_for_a_call(LONG_SECONDS)}

        app = create_http_app(
            title="Test",
            route_handlers=[slow, seconds],
            verifier=None,
            health=Health(),
            trusts_budgets=trusts_budgets,
        )
        async with (
            serving_http(app, "127.0.0.1", 0) as url,
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
        ):
            yield http


def waiting(milliseconds: int) -> dict[str, str]:
    return {"X-Request-Timeout-Ms": str(milliseconds)}


async def test_a_request_whose_callers_time_is_over_is_answered_and_its_work_ended() -> None:
    slow = Slow()
    async with slow.serving() as http:
        answer = await http.get("/slow", headers=waiting(100))
        metrics = (await http.get("/metrics")).text

    assert (answer.status_code, answer.json()["reason"]) == (504, "deadline_exceeded")
    assert answer.headers["content-type"] == "application/problem+json"
    assert slow.left_alone == 1
    assert 'route="/slow",status="504"' in metrics


async def test_a_request_that_came_too_late_is_not_begun() -> None:
    slow = Slow()
    async with slow.serving() as http:
        answer = await http.get("/slow", headers=waiting(0))

    assert (answer.status_code, slow.began) == (504, 0)


async def test_the_calls_of_a_request_know_its_budget() -> None:
    async with Slow().serving() as http:
        hurried = (await http.get("/seconds", headers=waiting(60_000))).json()["seconds"]
        patient = (await http.get("/seconds")).json()["seconds"]

    assert 0 < hurried < 60
    assert patient == LONG_SECONDS


@pytest.mark.parametrize("header", ["soon", "-5", ""])
async def test_a_header_that_is_no_number_says_nothing(header: str) -> None:
    async with Slow().serving() as http:
        answer = await http.get("/seconds", headers={"X-Request-Timeout-Ms": header})

    assert answer.json() == {"seconds": LONG_SECONDS}


async def test_who_serves_strangers_does_not_ask_them() -> None:
    async with Slow().serving(trusts_budgets=False) as http:
        answer = await http.get("/seconds", headers=waiting(1))

    assert answer.json() == {"seconds": LONG_SECONDS}
