"""A shop on a running platform, made and watched through the public API alone."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from services.embedded.client import TradeFlowClient
from services.embedded.data_folder import OPERATOR_EMAIL, TREASURY_EMAIL, DataFolder
from services.embedded.public_api import Balance, Order, WalletEvent
from services.money import Money
from services.runtime.ids import new_id

PASSWORD = "correct horse battery"
"""Everybody's."""

SECONDS_MAX = 60.0
"""How long anything awaited may take."""

POLL_SECONDS = 0.03
"""Between two looks."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who signed up, and speaks to the gateway as themselves."""

    email: str
    user_id: UUID
    client: TradeFlowClient

    async def balance(self) -> Balance:
        """Read the wallet in euros."""
        return await self.client.balance("EUR")


class PublicShop:
    """Makes people and products with names of their own, so that tests can share a platform."""

    def __init__(self, root: TradeFlowClient, folder: DataFolder) -> None:
        """Act on the platform that `root` calls."""
        self.root = root
        self.folder = folder
        self.treasury = root.another()
        self.operator = root.another()

    async def open(self) -> None:
        """Sign the treasury and the operator in."""
        secrets = self.folder.secrets()
        await self.treasury.login(TREASURY_EMAIL, secrets.treasury_password)
        await self.operator.login(OPERATOR_EMAIL, secrets.operator_password)

    async def person(self, role: str = "buyer", *, funds_minor: int = 0) -> Person:
        """Sign somebody up and in, with so many cents in the wallet."""
        client, email = self.root.another(), f"{role}-{new_id()}@shop.example"
        user = await client.register(email, PASSWORD, role)
        await client.login(email, PASSWORD)
        if funds_minor:
            await self.treasury.deposit(email, eur(funds_minor))
        return Person(email=email, user_id=user.user_id, client=client)

    async def product(self, seller: Person, *, price_minor: int = 1_000, stock: int | None = None) -> str:
        """Offer something, and return its sku."""
        sku = f"sku-{new_id()}"
        await seller.client.create_product(sku, "Thing", eur(price_minor), stock)
        return sku


def eur(amount_minor: int) -> Money:
    """So many cents."""
    return Money(amount_minor, "EUR")


@asynccontextmanager
async def public_shop(base_url: str, data: Path) -> AsyncIterator[PublicShop]:
    """Open a shop on the platform at this address and with this data folder."""
    async with TradeFlowClient(base_url) as root:
        shop = PublicShop(root, DataFolder(data))
        await shop.open()
        yield shop


async def until(
    look: Callable[[], Awaitable[T]], is_right: Callable[[T], bool], what: str, *, seconds_max: float = SECONDS_MAX
) -> T:
    """Look again and again until it is right."""
    deadline = time.monotonic() + seconds_max
    while not is_right(seen := await look()):
        assert time.monotonic() < deadline, f"{what} did not come; last seen: {seen}"
        await asyncio.sleep(POLL_SECONDS)
    return seen


async def until_state(person: Person, order: Order | UUID | str, *states: str) -> Order:
    """Wait until an order has one of these states."""
    order_id = order.order_id if isinstance(order, Order) else order
    return await until(
        lambda: person.client.get_order(order_id), lambda seen: seen.state in states, f"an order that is {states}"
    )


async def next_events(person: Person, count: int, *, last_sequence: int = 0) -> list[WalletEvent]:
    """Read so many events of a wallet after a sequence, over a new WebSocket."""
    events: list[WalletEvent] = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(SECONDS_MAX))
        stream = await stack.enter_async_context(aclosing(person.client.events(last_sequence)))
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    return events
