"""A service's own tokens, for work that no user is waiting for: OAuth 2 client credentials, one audience each.

Source: RFC 6749, section 4.4.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
import msgspec

from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError

FETCH_SECONDS_MAX = 5.0
"""How long the issuer may take."""

RENEW_BEFORE_SECONDS = 30.0
"""A token is replaced this long before it ends, so that none ends on its way."""


class _Answer(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    token: str = field(repr=False)
    renew_at: datetime


class ServiceTokens:
    """Gets tokens when first needed and keeps them until shortly before they end."""

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        clock: Clock,
        *,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """Ask `token_url` as `client_id`, with an own HTTP client unless one is handed in (its owner closes it)."""
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._http = http
        self._own_http = http is None
        self._held: dict[str, _Held] = {}
        self._asking: dict[str, asyncio.Task[str]] = {}

    async def token_for(self, audience: str) -> str:
        """Return a token for a service; many callers at once cause one request.

        Raises:
            UnavailableError: The issuer is away or refuses this client.
        """
        held = self._still_good(audience)
        return held if held is not None else await asyncio.shield(self._asked(audience))

    def _asked(self, audience: str) -> asyncio.Task[str]:
        """Share one request, and its failure, between all that wait for it; it goes on when one of them leaves."""
        if audience not in self._asking:
            task = asyncio.create_task(self._renewed(audience), name=f"token-for-{audience}")
            self._asking[audience] = task
            task.add_done_callback(lambda done: self._note_end(audience, done))
        return self._asking[audience]

    def _note_end(self, audience: str, task: asyncio.Task[str]) -> None:
        del self._asking[audience]
        if not task.cancelled():
            # Read, so that asyncio doesn't complain where all who asked have left.
            task.exception()

    async def _renewed(self, audience: str) -> str:
        answer = await self._ask(audience)
        lifetime = timedelta(seconds=max(answer.expires_in - RENEW_BEFORE_SECONDS, answer.expires_in / 2))
        self._held[audience] = _Held(token=answer.access_token, renew_at=self._clock.now() + lifetime)
        return answer.access_token

    def forget(self, audience: str) -> None:
        """Drop the kept token, after a service refused it: the next call gets a new one."""
        self._held.pop(audience, None)

    async def aclose(self) -> None:
        """Give requests up and close the connections."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._own_http and self._http is not None:
            await self._http.aclose()
            self._http = None

    def _still_good(self, audience: str) -> str | None:
        held = self._held.get(audience)
        return held.token if held is not None and self._clock.now() < held.renew_at else None

    async def _ask(self, audience: str) -> _Answer:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=FETCH_SECONDS_MAX, trust_env=False)
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                response = await self._http.post(
                    self._token_url,
                    data={"grant_type": "client_credentials", "audience": audience},
                    auth=(self._client_id, self._client_secret),
                )
        except (TimeoutError, httpx.HTTPError) as error:
            raise _unavailable(f"The issuer can't be reached for a token for {audience}.") from error
        if response.is_error:
            raise _unavailable(
                f"The issuer answered {response.status_code} to {self._client_id}'s request for a token."
            )
        try:
            return msgspec.json.decode(response.content, type=_Answer)
        except msgspec.DecodeError as error:
            raise _unavailable("The issuer's answer holds no token.") from error


def _unavailable(message: str) -> UnavailableError:
    return UnavailableError(message, reason="issuer_unavailable")
