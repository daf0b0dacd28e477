"""The platform as the replay sees it: the retailer, the treasury, the products."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from services.embedded.client import TradeFlowClient
from services.embedded.public_api import Order, Product
from services.embedded.replay.orders import PlannedLine
from services.embedded.replay.progress import Meter
from services.runtime.errors import ConflictError, TradeFlowError, UnavailableError

Item = TypeVar("Item")

PAGE_ITEMS = 200
"""The largest page of the public API."""

SETTLE_SECONDS_MAX = 120.0
"""How long a confirmed order may take to be settled, with a restart of the platform in between."""

POLL_SECONDS_FIRST = 0.02
"""Settlement takes tens of milliseconds."""

POLL_SECONDS_MAX = 1.0
"""When it takes longer, asking often makes it no faster."""

FINAL_STATES = frozenset(
    {"SETTLED", "PARTIALLY_REFUNDED", "REFUNDED", "REJECTED", "CANCELLED", "EXPIRED", "SETTLEMENT_FAILED"}
)
"""An order stays in these until somebody does something."""


class ReplayFailedError(TradeFlowError):
    """The platform isn't in the state that this run brought it to."""

    default_reason = "replay_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account of the platform."""

    email: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Who stands behind the counter, signed in."""

    retailer: TradeFlowClient
    retailer_id: UUID
    treasury: TradeFlowClient

    async def order_when_final(self, order_id: UUID) -> Order:
        """Wait until nothing about an order is under way.

        Raises:
            UnavailableError: `order_in_the_middle`: it took too long.
        """
        loop = asyncio.get_running_loop()
        deadline, pause_seconds = loop.time() + SETTLE_SECONDS_MAX, POLL_SECONDS_FIRST
        while (order := await self.retailer.get_order(order_id)).state not in FINAL_STATES:
            if loop.time() > deadline:
                message = f"order {order_id} is still {order.state} after {SETTLE_SECONDS_MAX:.0f} s"
                raise UnavailableError(message, reason="order_in_the_middle")
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(POLL_SECONDS_MAX, 2 * pause_seconds)
        return order

    async def orders(self) -> AsyncIterator[Order]:
        """List every order that the retailer ever had."""
        cursor: str | None = None
        while True:
            page = await self.retailer.list_orders(role="seller", cursor=cursor, limit=PAGE_ITEMS)
            for order in page.items:
                yield order
            cursor = page.next_cursor
            if cursor is None:
                return


async def register(client: TradeFlowClient, who: Credentials, role: str) -> None:
    """Make an account; one that is there already is fine."""
    try:
        await client.register(who.email, who.password, role)
    except ConflictError as error:
        if error.reason != "email_taken":
            raise


async def offer_products(shop: Shop, lines: Sequence[PlannedLine], *, concurrency: int, meter: Meter) -> None:
    """Make the products that aren't there yet.

    Raises:
        ReplayFailedError: A sku is somebody else's, or has another price.
    """
    there = {product.sku: product async for product in _products(shop.retailer)}
    meter.begin("products", len(lines))

    async def offer(line: PlannedLine) -> None:
        _check_product(there.get(line.sku) or await _create(shop.retailer, line), line, shop.retailer_id)
        meter.advance()

    await for_each(lines, offer, concurrency=concurrency)


async def for_each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], *, concurrency: int) -> None:
    """Work on items in their order, so many at once; the first failure ends it and is raised as it is."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _products(client: TradeFlowClient) -> AsyncIterator[Product]:
    cursor: str | None = None
    while True:
        page = await client.list_products(cursor=cursor, limit=PAGE_ITEMS)
        for product in page.items:
            yield product
        cursor = page.next_cursor
        if cursor is None:
            return


async def _create(retailer: TradeFlowClient, line: PlannedLine) -> Product:
    try:
        return await retailer.create_product(line.sku, line.title, line.price)
    except ConflictError as error:
        if error.reason != "sku_taken":
            raise
    return await retailer.get_product(line.sku)


def _check_product(product: Product, line: PlannedLine, retailer_id: UUID) -> None:
    if (product.price, product.seller_id, product.stock) != (line.price, retailer_id, None):
        message = f"product {line.sku} is there with another price, stock or seller: {product}"
        raise ReplayFailedError(message, reason="product_differs")
