"""The budget of an HTTP request: what its caller's patience leaves, and an answer when nothing is left.

Only services behind the gateway read it: the gateway's own callers don't choose how long it works.
"""

import asyncio
from typing import Final

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.budget import HEADER, parse_budget, spending
from services.runtime.http_errors import PROBLEM_MEDIA_TYPE, TYPE_PREFIX, Problem

STATUS: Final = 504
"""Gateway Timeout: whether the call had an effect isn't known."""

_HEADER_BYTES = HEADER.encode()


class BudgetEdge:
    """Wraps an application's ASGI handler; a request that says how long its caller waits is ended then."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or leave it when its caller has."""
        budget_seconds = _budget_of(scope)
        if budget_seconds is None:
            await self._app(scope, receive, send)
            return
        is_answered = False

        async def noting_answer(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        if budget_seconds > 0 and await self._ends_within(budget_seconds, scope, receive, noting_answer):
            return
        if not is_answered:
            await _send_problem(send)

    async def _ends_within(self, budget_seconds: float, scope: Scope, receive: Receive, send: Send) -> bool:
        limit = asyncio.timeout(budget_seconds)
        try:
            async with limit:
                with spending(budget_seconds):
                    await self._app(scope, receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        return True


def _budget_of(scope: Scope) -> float | None:
    if scope["type"] != ScopeType.HTTP:
        return None
    return next(
        (parse_budget(value.decode("latin-1")) for name, value in scope["headers"] if name == _HEADER_BYTES), None
    )


async def _send_problem(send: Send) -> None:
    reason = "deadline_exceeded"
    problem = Problem(
        type=TYPE_PREFIX + reason,
        title="Deadline exceeded",
        status=STATUS,
        detail="The caller's time was over; whether the call had an effect isn't known. Repeat it with the same "
        "Idempotency-Key.",
        reason=reason,
    )
    body = msgspec.json.encode(problem)
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": STATUS, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
