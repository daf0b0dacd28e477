"""Call the public API as one caller: bearer token, renewal, errors, another try."""

import asyncio
import time
from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from services.embedded.public_api import Tokens
from services.embedded.retrying import ATTEMPTS_MAX, retrying
from services.runtime.errors import TradeFlowError, UnauthenticatedError, UnavailableError
from services.runtime.http_errors import problem_of
from services.runtime.ids import new_id

Shape = TypeVar("Shape")
Query = Mapping[str, str | int | None]

TIMEOUT_SECONDS = 30.0
"""For one attempt; longer than the gateway's own time limit, so that its answer is heard."""

CONNECTIONS_MAX = 100
"""Of one pool. More callers wait for a free connection."""

RENEW_BEFORE_SECONDS = 30.0
"""An access token is renewed this long before its end, or at its half-life, so that it doesn't end on the way."""


def new_pool() -> httpx.AsyncClient:
    """Make a pool of connections that several callers can share."""
    limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
    return httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)


class HttpCaller:
    """One caller of one gateway, signed in or not."""

    def __init__(self, base_url: str, http: httpx.AsyncClient, attempts_max: int = ATTEMPTS_MAX) -> None:
        """Call the gateway at `base_url` over the connections of `http`."""
        self.base_url = base_url
        self.http = http
        self.attempts_max = attempts_max
        self.tokens: Tokens | None = None
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()

    def sign_in(self, tokens: Tokens) -> None:
        """Make later calls with these tokens."""
        self.tokens = tokens
        self._renew_at = time.monotonic() + max(tokens.expires_in - RENEW_BEFORE_SECONDS, tokens.expires_in / 2)

    def sign_out(self) -> None:
        """Make later calls without any token."""
        self.tokens = None

    async def token_of_now(self) -> str:
        """Give an access token with some time left; empty when signed out."""
        if self.tokens is None:
            return ""
        if time.monotonic() >= self._renew_at:
            await self._renew(self.tokens.access_token)
        return self.tokens.access_token

    async def get(self, path: str, shape: type[Shape], query: Query | None = None) -> Shape:
        """Read."""
        return self._read(await self.send(self._request("GET", path, query=query)), shape)

    async def write(
        self, method: str, path: str, shape: type[Shape], body: object, headers: Mapping[str, str] | None = None
    ) -> Shape:
        """Send JSON and read the answer."""
        return self._read(await self.send(self._request(method, path, body, headers)), shape)

    async def write_once(self, path: str, shape: type[Shape], body: object, idempotency_key: str | None) -> Shape:
        """POST JSON under an idempotency key, a new one by default."""
        return await self.write("POST", path, shape, body, {"Idempotency-Key": idempotency_key or str(new_id())})

    async def post(self, path: str, body: object = None) -> None:
        """POST JSON and expect no answer but success."""
        await self.send(self._request("POST", path, body))

    async def sign_in_with(self, path: str, body: object) -> Tokens:
        """POST what a session is given for, without a token, and use the session."""
        answer = await self.send(self._request("POST", path, body), signed=False)
        tokens = self._read(answer, Tokens)
        self.sign_in(tokens)
        return tokens

    async def send(self, request: httpx.Request, *, signed: bool = True) -> bytes:
        """Send, again and again while that may help, and return the successful answer's body."""
        return await retrying(lambda: self._attempt(request, signed=signed), attempts_max=self.attempts_max)

    def _read(self, answer: bytes, shape: type[Shape]) -> Shape:
        """Read a successful answer.

        Raises:
            UnavailableError: `answer_unreadable`: what answers there is no gateway, such as a proxy's page.
        """
        try:
            return msgspec.json.decode(answer, type=shape)
        except msgspec.MsgspecError as error:
            message = f"what answers at {self.base_url} is no gateway of TradeFlow: {error}"
            raise UnavailableError(message, reason="answer_unreadable") from error

    def _request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        query: Query | None = None,
    ) -> httpx.Request:
        content_type = {} if body is None else {"Content-Type": "application/json"}
        return self.http.build_request(
            method,
            self.base_url + path,
            params={name: value for name, value in (query or {}).items() if value is not None},
            content=None if body is None else msgspec.json.encode(body),
            headers={**content_type, **(headers or {})},
        )

    async def _attempt(self, request: httpx.Request, *, signed: bool) -> bytes:
        token = await self.token_of_now() if signed else ""
        try:
            return await self._send_as(request, token)
        except UnauthenticatedError as error:
            if not token or error.reason != "token_expired":
                raise
        await self._renew(token)
        return await self._send_as(request, await self.token_of_now())

    async def _send_as(self, request: httpx.Request, token: str) -> bytes:
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        try:
            response = await self.http.send(request)
        except httpx.TransportError as error:
            raise UnavailableError(f"{self.base_url} can't be reached: {error!r}", retry_after_seconds=0) from error
        if response.is_success:
            return response.content
        raise error_of(response)

    async def _renew(self, stale: str) -> None:
        """Exchange the refresh token, once for all calls that found the same token too old."""
        async with self._renewing:
            if self.tokens is not None and self.tokens.access_token == stale:
                await self.sign_in_with("/auth/refresh", {"refresh_token": self.tokens.refresh_token})


def error_of(response: httpx.Response) -> TradeFlowError:
    """Rebuild the error that a response reports, with the pause that its headers ask for."""
    return problem_of(response.status_code, response.content, retry_after=response.headers.get("Retry-After"))
