"""Bad input from outside: each row is refused with its status and reason, and changes nothing at all."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedded.sqlite_url import sqlite_url
from services.money import Money
from services.runtime.ids import new_id
from tests.support.bad_input_table import TABLE
from tests.support.bad_requests import Bad
from tests.support.platform import PlatformProcess, assert_invariants_hold, platform_process
from tests.support.public_shop import Person, PublicShop, public_shop, until_state
from tests.support.tokens import TokenForge
from tests.support.verified_book import verified

PEOPLE = ("buyer", "stranger", "merchant", "other_merchant")
"""Who has a wallet in the world."""


@dataclass(slots=True, kw_only=True)
class World:
    """What bad requests are aimed at; `seen` is all that could have changed, as it was after the row before."""

    process: PlatformProcess
    tokens: dict[str, str]
    names: dict[str, str]
    seen: Any = None

    async def send(self, bad: Bad) -> httpx.Response:
        """Send a row as it is, without a second try."""
        content = bad.content()
        headers = {} if content is None else {"Content-Type": "application/json"}
        headers |= {"Idempotency-Key": f"bad {bad.name}".replace(" ", "-")[:128]} if bad.keyed else {}
        headers |= {"Authorization": f"Bearer {self.tokens[bad.caller]}"} if bad.caller else {}
        headers |= {name: self._named(text) for name, text in bad.headers.items()}
        sent = None if content is None else self._named(content.decode("latin-1")).encode("latin-1")
        async with self._http() as http:
            return await http.request(bad.method, self._named(bad.path), content=sent, headers=headers)

    async def snapshot(self) -> Any:
        """Read all that a bad request could have changed."""
        seen: list[Any] = []
        async with self._http() as http:
            for name in PEOPLE:
                headers = {"Authorization": f"Bearer {self.tokens[name]}"}
                for path in ("wallet/balance?currency=EUR", "orders?limit=200", "products?limit=200"):
                    answer = await http.get(f"/api/v1/{path}", headers=headers)
                    assert answer.status_code == 200, answer.text
                    seen.append(answer.json())
        report = await verified(sqlite_url(self.process.folder.ledger_database))
        assert report.problems == ()
        return [*seen, report.last_sequence, report.last_hash]

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.process.gateway_url, timeout=20)

    def _named(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace("{" + name + "}", value)
        return text


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    """One platform for the whole table."""
    data: Path = tmp_path_factory.mktemp("platform") / "data"
    with platform_process(data) as process:
        yield process


@pytest.fixture(scope="module")
def world(process: PlatformProcess) -> World:
    """Make it once, in an event loop of its own."""
    return asyncio.run(a_world(process))


async def a_world(process: PlatformProcess) -> World:
    async with public_shop(process.gateway_url, process.data) as shop:
        roles = {"buyer": "buyer", "stranger": "buyer", "merchant": "merchant", "other_merchant": "merchant"}
        people = {name: await shop.person(roles[name], funds_minor=100_000) for name in PEOPLE}
        clients = {name: person.client for name, person in people.items()}
        clients |= {"treasury": shop.treasury, "operator": shop.operator}
        names = {
            **await _things(shop, people["buyer"], people["merchant"]),
            "stranger": str(people["stranger"].user_id),
        }
        tokens = {name: client.access_token for name, client in clients.items()}
    names |= _bad_tokens(TokenForge(process.folder.keys, str(people["buyer"].user_id)))
    world = World(process=process, tokens=tokens, names=names)
    world.seen = await world.snapshot()
    return world


async def _things(shop: PublicShop, buyer: Person, merchant: Person) -> dict[str, str]:
    """Make products and orders, and name them."""
    sku, dollar_sku = await shop.product(merchant, price_minor=1_000, stock=50), f"dollar-{new_id()}"
    await merchant.client.create_product(dollar_sku, "Thing", Money(100, "USD"))
    settled = await buyer.client.place_order({sku: 3}, idempotency_key="used")
    reserved = await buyer.client.place_order({sku: 2}, capture="manual")
    await until_state(buyer, settled, "SETTLED")
    return {
        "sku": sku,
        "dollar_sku": dollar_sku,
        "settled": str(settled.order_id),
        "reserved": str(reserved.order_id),
        "used_key": "used",
        "buyer_email": buyer.email,
    }


def _bad_tokens(forge: TokenForge) -> dict[str, str]:
    soon = int(time.time()) + 300
    return {
        "expired": forge.expired(),
        "early": forge.signed(nbf=soon),
        "unsigned": forge.unsigned(),
        "hs256": forge.keyed_with_the_public_key(),
        "other_key": forge.of_another_key(),
        "unknown_key": forge.of_unknown_key(),
        "changed": forge.changed(),
        "other_issuer": forge.signed(iss="https://elsewhere.example"),
        "other_audience": forge.signed(aud="ledger"),
        "no_id": forge.signed(jti=None),
        "no_end": forge.signed(exp=None),
    }


@pytest.mark.parametrize("bad", TABLE, ids=str)
async def test_bad_input_is_refused_and_changes_nothing(world: World, bad: Bad) -> None:
    answer = await world.send(bad)

    assert (answer.status_code, answer.json().get("reason")) == (bad.status, bad.reason), answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    before, world.seen = world.seen, await world.snapshot()
    assert world.seen == before


async def test_nothing_of_all_this_violated_an_invariant(process: PlatformProcess) -> None:
    await assert_invariants_hold(process.data)
