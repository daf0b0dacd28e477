"""People who sign in at one gateway and use their tokens at another, while keys come and go."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from joserfc import jws, jwt
from joserfc.jwk import KeySet

PAUSE_SECONDS = 0.05
"""Between two rounds: what counts is that tokens of each key are made and shown at all times."""


@dataclass
class TokenUser:
    """Somebody who renews the session with each round."""

    email: str
    gateways: Sequence[str]
    public_keys: Path
    """The mounted ConfigMap's entry, for who verifies without asking any gateway."""
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    kids: set[str] = field(default_factory=set)
    """Of the keys that signed the tokens."""

    async def run(self) -> None:
        """Go on until cancelled, or refused."""
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
            turns = itertools.cycle(self.gateways)
            credentials = {"email": self.email, "password": "password"}
            while not self.refusals:
                tokens = await self._ask(http, "POST", f"{next(turns)}/auth/login", json=credentials)
                for _ in range(5):
                    self._verify(tokens["access_token"])
                    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
                    for _ in self.gateways:
                        await self._ask(http, "GET", f"{next(turns)}/api/v1/orders", headers=headers)
                    refreshing = {"refresh_token": tokens["refresh_token"]}
                    tokens = await self._ask(http, "POST", f"{next(turns)}/auth/refresh", json=refreshing)
                    await asyncio.sleep(PAUSE_SECONDS)

    def _verify(self, token: str) -> None:
        """Believe no key but the published ones."""
        self.kids.add(str(jws.extract_compact(token.encode()).headers()["kid"]))
        published = KeySet.import_key_set(msgspec.json.decode(self.public_keys.read_bytes()))
        jwt.decode(token, published, algorithms=["RS256"])

    async def _ask(self, http: httpx.AsyncClient, method: str, url: str, **options: Any) -> dict[str, Any]:
        answer = await http.request(method, url, **options)
        self.statuses[answer.status_code] += 1
        if answer.is_error:
            self.refusals.append(f"{method} {url}: {answer.status_code} {answer.text}")
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


@asynccontextmanager
async def using_tokens(users: Sequence[TokenUser]) -> AsyncIterator[None]:
    """Let all of them go on while the body runs.

    Raises:
        ExceptionGroup: One was refused.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(user.run()) for user in users]
        yield
        for task in tasks:
            task.cancel()
