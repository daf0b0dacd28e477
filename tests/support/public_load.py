"""Buyers that order without pause over the public API, and what they were told."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx

from services.embedded.client import TradeFlowClient
from services.embedded.http_caller import new_pool
from services.embedded.public_api import Order
from services.runtime.errors import TradeFlowError
from tests.support.public_shop import PASSWORD, Person, PublicShop, until

FINAL_STATES = frozenset(
    {"SETTLED", "PARTIALLY_REFUNDED", "REFUNDED", "REJECTED", "CANCELLED", "EXPIRED", "SETTLEMENT_FAILED"}
)
"""Nothing more happens to these by itself."""

FUNDS_MINOR = 1_000_000
"""More than anybody orders for."""

PRICE_MINOR = 10
"""Of what is ordered."""

ENDED_SECONDS_MAX = 150.0
"""Seconds as a rule. An order that the reconciler looked at in vain many times is looked at again after 64 times its
patience, which is a second in tests."""

PAUSE_SECONDS = 0.25
"""After a call that failed: the platform may be away for a while, and each call may be an order that has to expire."""


@dataclass
class Load:
    """Some buyers of one product; `answered` are the orders that they were told of."""

    shop: PublicShop
    buyers: list[Person]
    seller: Person
    sku: str
    answered: list[Order] = field(default_factory=list)
    unauthorized: list[str] = field(default_factory=list)
    """What was said to a buyer with a good token or password whose word wasn't taken (401)."""
    pause_seconds: float = PAUSE_SECONDS

    async def run(self) -> None:
        """Order until it is cancelled; what was not answered is nobody's promise."""
        async with asyncio.TaskGroup() as group:
            for buyer in self.buyers:
                group.create_task(self._order_on(buyer))

    async def until_answered(self, orders: int) -> None:
        """Wait until so many orders were answered."""
        await until(self._count, lambda seen: seen >= orders, f"{orders} answered orders")

    async def ended(self) -> list[Order]:
        """Wait until no order is in the middle, and return all."""
        return [order for buyer in self.buyers for order in await _ended_orders(buyer)]

    async def assert_every_answer_was_kept(self) -> None:
        """Check that each answered order settled, once, and that money moved for settled orders and for no others."""
        ended, spent_minor = await self._ended_and_spent()
        settled = {order.order_id for order in ended if order.state == "SETTLED"}
        assert {order.order_id for order in self.answered} <= settled
        assert {order.state for order in ended} <= {"SETTLED", "EXPIRED"}
        assert spent_minor == PRICE_MINOR * len(settled)

    async def _ended_and_spent(self) -> tuple[list[Order], int]:
        """Read orders and balances of one moment: a call that was given up may still arrive and become an order."""
        ended = await self.ended()
        while True:
            spent_minor = [FUNDS_MINOR - (await buyer.balance()).available.amount_minor for buyer in self.buyers]
            before, ended = ended, await self.ended()
            if len(before) == len(ended):
                return ended, sum(spent_minor)

    async def _order_on(self, buyer: Person) -> None:
        async with new_pool() as http:
            http.event_hooks = {"response": [self._note_unauthorized]}
            impatient = TradeFlowClient(self.shop.root.base_url, http=http, attempts_max=1)
            signed_in = False
            while True:
                try:
                    if not signed_in:
                        # A gateway that has just started may not have found the other services yet.
                        await impatient.login(buyer.email, PASSWORD)
                        signed_in = True
                    self.answered.append(await impatient.place_order({self.sku: 1}))
                except TradeFlowError:
                    await asyncio.sleep(self.pause_seconds)

    async def _note_unauthorized(self, response: httpx.Response) -> None:
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            await response.aread()
            self.unauthorized.append(f"{response.request.method} {response.request.url.path}: {response.text}")

    async def _count(self) -> int:
        return len(self.answered)


async def a_load(shop: PublicShop, *, buyers: int, pause_seconds: float = PAUSE_SECONDS) -> Load:
    """Sign up a seller and buyers with money, who pause after a call that failed."""
    seller = await shop.person("merchant")
    sku = await shop.product(seller, price_minor=PRICE_MINOR, stock=100_000)
    people = [await shop.person(funds_minor=FUNDS_MINOR) for _ in range(buyers)]
    return Load(shop=shop, buyers=people, seller=seller, sku=sku, pause_seconds=pause_seconds)


async def stop_load(ordering: asyncio.Task[None]) -> None:
    """Let the buyers go home."""
    ordering.cancel()
    with suppress(asyncio.CancelledError):
        await ordering


async def all_orders(buyer: Person) -> list[Order]:
    """Read all orders of a buyer, page by page."""
    page = await buyer.client.list_orders(limit=200)
    orders = list(page.items)
    while page.next_cursor is not None:
        page = await buyer.client.list_orders(limit=200, cursor=page.next_cursor)
        orders += page.items
    return orders


async def _ended_orders(buyer: Person) -> list[Order]:
    async def look() -> list[Order]:
        return await all_orders(buyer)

    return await until(look, _have_ended, "the end of all orders", seconds_max=ENDED_SECONDS_MAX)


def _have_ended(orders: list[Order]) -> bool:
    return all(order.state in FINAL_STATES for order in orders)
