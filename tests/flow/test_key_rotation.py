"""Signing keys are replaced three times while people use two replicas of everything: nobody is taken for a forger."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from joserfc import jws

from services.gateway.keys import generate_jwk
from services.runtime.ids import new_id
from services.runtime.jwks import FETCH_PAUSE_SECONDS
from tests.support.gateway_world import write_keys
from tests.support.public_shop import PASSWORD, Person, public_shop, until
from tests.support.real_parts import RealParts
from tests.support.real_platform import RealPlatform, running_real_platform

pytestmark = [
    pytest.mark.ci,
    pytest.mark.timeout(900),
]  # six processes start on a busy machine, and a removed key's tokens run out first

FILE_NAME = "signing-keys.json"

ACCESS_TOKEN_SECONDS = 10
SERVICE_TOKEN_SECONDS = 60

JWKS_MAX_AGE_SECONDS = 1

IN_A_HURRY = {
    "TRADEFLOW_GATEWAY_JWKS_MAX_AGE_SECONDS": str(JWKS_MAX_AGE_SECONDS),
    "TRADEFLOW_GATEWAY_KEYS_MOUNT_SECONDS_MAX": "1",
    "TRADEFLOW_GATEWAY_KEYS_RELOAD_SECONDS": "0.1",
    "TRADEFLOW_GATEWAY_ACCESS_TOKEN_SECONDS": str(ACCESS_TOKEN_SECONDS),
    "TRADEFLOW_GATEWAY_SERVICE_TOKEN_SECONDS": str(SERVICE_TOKEN_SECONDS),
}

LEEWAY_SECONDS = 5.0
"""After the longest token of a key has run out, the key is removed."""

SECONDS_MAX = 120.0

BUYERS = 3


@pytest.fixture
def replicated(shared_parts: RealParts, tmp_path: Path) -> Iterator[RealPlatform]:
    with running_real_platform(shared_parts, tmp_path / "data", replicas=2, settings=IN_A_HURRY) as platform:
        yield platform


@dataclass
class Visitor:
    """Somebody who uses both gateways by turns, and renews the session with each round."""

    person: Person
    sku: str
    gateways: list[str]
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    rounds: int = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
            turns = itertools.cycle(self.gateways)
            credentials = {"email": self.person.email, "password": PASSWORD}
            tokens = await self._ask(http, "POST", f"{next(turns)}/auth/login", json=credentials)
            while True:
                headers = {"Authorization": f"Bearer {tokens['access_token']}"}
                for path in ("wallet/balance?currency=EUR", "wallet/statement?currency=EUR", "orders", "products"):
                    await self._ask(http, "GET", f"{next(turns)}/api/v1/{path}", headers=headers)
                order = {"lines": [{"sku": self.sku, "quantity": 1}], "capture": "automatic"}
                with_key = {**headers, "Idempotency-Key": str(new_id())}
                await self._ask(http, "POST", f"{next(turns)}/api/v1/orders", json=order, headers=with_key)
                refreshing = {"refresh_token": tokens["refresh_token"]}
                tokens = await self._ask(http, "POST", f"{next(turns)}/auth/refresh", json=refreshing)
                self.rounds += 1

    async def _ask(self, http: httpx.AsyncClient, method: str, url: str, **options: Any) -> dict[str, Any]:
        answer = await http.request(method, url, **options)
        self.statuses[answer.status_code] += 1
        if answer.is_error:
            self.refusals.append(f"{method} {url}: {answer.status_code} {answer.text}")
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


class Rotation:
    """Whoever writes the folder of keys: an operator with patience, or a person without."""

    def __init__(self, folder: Path, gateways: list[str]) -> None:
        self._folder = folder
        self._gateways = gateways
        self.keys: list[dict[str, Any]] = msgspec.json.decode((folder / FILE_NAME).read_bytes())["keys"]

    def write(self) -> None:
        write_keys(self._folder, *self.keys, file_name=FILE_NAME)

    async def with_announcement(self) -> None:
        """Publish a key, wait until everybody shows and may have read it, and only then let it sign alone."""
        new = a_key(status="prepared")
        self.keys = [*self.keys, new]
        self.write()
        await self._until_all_show(new["kid"])
        # As the operator's publishBefore: a verifier's copy is old by then, and it may look again.
        await asyncio.sleep(JWKS_MAX_AGE_SECONDS + FETCH_PAUSE_SECONDS)
        self.keys = [*({**key, "status": "retiring"} for key in self.keys[:-1]), {**new, "status": "active"}]
        self.write()

    async def by_hand(self) -> str:
        """Put a key beside the others, active at once, as a person does: the gateways have to be patient themselves."""
        new = a_key(status="active")
        self.keys = [*self.keys, new]
        self.write()
        return str(new["kid"])

    def remove_all_but_the_newest(self) -> None:
        self.keys = self.keys[-1:]
        self.write()

    async def until_it_signs(self, key_id: str, person: Person) -> None:
        """Wait until new tokens of both gateways are signed with this key."""

        async def signers() -> set[str]:
            return {await signer(gateway, person) for gateway in self._gateways}

        await until(signers, lambda seen: seen == {key_id}, f"tokens signed with {key_id}", seconds_max=SECONDS_MAX)

    async def _until_all_show(self, key_id: str) -> None:
        async def shown() -> list[bool]:
            async with httpx.AsyncClient(trust_env=False) as http:
                answers = [await http.get(f"{gateway}/.well-known/jwks.json") for gateway in self._gateways]
            return [key_id in answer.text for answer in answers]

        await until(shown, all, f"{key_id} at all gateways", seconds_max=SECONDS_MAX)


def a_key(*, status: str) -> dict[str, Any]:
    return generate_jwk(made_at_seconds=int(time.time()), status=status)


async def signer(gateway: str, person: Person) -> str:
    async with httpx.AsyncClient(base_url=gateway, timeout=60.0, trust_env=False) as http:
        tokens = (await http.post("/auth/login", json={"email": person.email, "password": PASSWORD})).json()
    header = jws.extract_compact(tokens["access_token"].encode()).headers()
    return str(header["kid"])


async def test_three_rotations_under_load_refuse_nobody(replicated: RealPlatform) -> None:
    gateways = [replicated.services.replica_url("gateway", number) for number in (1, 2)]
    rotation = Rotation(replicated.folder.keys, gateways)
    async with public_shop(replicated.gateway_url, replicated.data) as shop:
        sku = await shop.product(await shop.person("merchant"), price_minor=1)
        people = [await shop.person(funds_minor=1_000_000) for _ in range(BUYERS)]
        visitors = [Visitor(person, sku, gateways) for person in people]
        async with visiting(visitors):
            await all_have_gone_round(visitors)
            for rotate in (rotation.with_announcement, rotation.by_hand, rotation.with_announcement):
                await rotate()
                await rotation.until_it_signs(str(rotation.keys[-1]["kid"]), people[0])
                await all_have_gone_round(visitors)
            await asyncio.sleep(max(ACCESS_TOKEN_SECONDS, SERVICE_TOKEN_SECONDS) + LEEWAY_SECONDS)
            rotation.remove_all_but_the_newest()
            await all_have_gone_round(visitors, times=3)

    assert [visitor.refusals for visitor in visitors] == [[]] * BUYERS
    statuses: Counter[int] = sum((visitor.statuses for visitor in visitors), Counter())
    assert set(statuses) == {200, 201}


async def all_have_gone_round(visitors: list[Visitor], *, times: int = 1) -> None:
    """Wait until each visitor has made whole rounds that began after this call."""
    goals = [visitor.rounds + times + 1 for visitor in visitors]

    async def rounds() -> list[tuple[int, list[str]]]:
        return [(visitor.rounds, visitor.refusals) for visitor in visitors]

    await until(
        rounds,
        lambda seen: all(done >= goal or refusals for (done, refusals), goal in zip(seen, goals, strict=True)),
        "a round of each visitor",
        seconds_max=SECONDS_MAX,
    )


@asynccontextmanager
async def visiting(visitors: list[Visitor]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(visitor.run()) for visitor in visitors]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
