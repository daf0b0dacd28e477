"""Where hundreds of endpoints have few messages and one has thousands, no look walks over the thousands.

A server counts an endpoint's messages as all have on average, and would take any index, or the endpoints first.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from services.orders.domain.webhook import DeliveryState, WebhookEndpoint
from services.orders.metrics import WebhookMetrics
from services.orders.outbound.webhook_lag import WebhookLag
from services.orders.outbound.webhook_overview import undelivered
from services.orders.outbound.webhook_rows import SqlWebhookRows
from services.orders.use_cases.deliver_webhooks import DELIVERIES_A_PASS_MAX, TAKEN_FOR
from tests.parts.sql_servers import administrator
from tests.support.orders_world import OrdersWorld, orders_world
from tests.support.webhooks import listen, send_to

MANY = 6_000
"""Messages of the one endpoint, which took them."""

ENDPOINTS = 100
"""Others, each with a few that died: on average an endpoint has some dozens, and the one doesn't stand out."""

DIED = 10
"""Of each of the others."""

ROWS_READ_MAX = 2_000
"""For all that died, and a look at each endpoint; far fewer than the many."""

Look = Callable[[OrdersWorld, WebhookEndpoint], Awaitable[object]]


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


async def take(world: OrdersWorld, _busy: WebhookEndpoint) -> object:
    now = world.clock.now()
    async with world.database.transaction() as connection:
        return await SqlWebhookRows(connection).take_due(
            now, failing=False, taken_until=now + TAKEN_FOR, rows_max=DELIVERIES_A_PASS_MAX
        )


async def measure(world: OrdersWorld, _busy: WebhookEndpoint) -> object:
    await WebhookLag(world.database, world.clock, WebhookMetrics(CollectorRegistry())).measure()
    return True


async def list_dead(world: OrdersWorld, busy: WebhookEndpoint) -> object:
    async with world.database.transaction() as connection:
        return await SqlWebhookRows(connection).deliveries(
            busy.endpoint_id, state=DeliveryState.DEAD, before=None, rows_max=50
        )


async def show_all_dead(world: OrdersWorld, _busy: WebhookEndpoint) -> object:
    return await undelivered(world.database, DeliveryState.DEAD, endpoint_id=None, rows_max=50)


async def show_dead_of_one(world: OrdersWorld, busy: WebhookEndpoint) -> object:
    return await undelivered(world.database, DeliveryState.DEAD, endpoint_id=busy.endpoint_id, rows_max=50)


async def redrive_all(world: OrdersWorld, _busy: WebhookEndpoint) -> object:
    async with world.database.transaction() as connection:
        return await SqlWebhookRows(connection).redrive(None, message_id=None, now=world.clock.now(), rows_max=50)


async def redrive_one(world: OrdersWorld, busy: WebhookEndpoint) -> object:
    async with world.database.transaction() as connection:
        return await SqlWebhookRows(connection).redrive(
            busy.endpoint_id, message_id=None, now=world.clock.now(), rows_max=50
        )


LOOKS = (measure, list_dead, show_all_dead, show_dead_of_one, redrive_one, redrive_all, take)
"""In an order in which none takes what the next one looks for."""


@pytest.mark.parametrize(
    "engine_url", [pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")], indirect=True
)
async def test_each_look_reads_what_it_needs(world: OrdersWorld, engine_url: str) -> None:
    busy = await listen(world)
    await send_to(world, busy, MANY, state="DELIVERED")
    await send_to(world, busy, 3, state="DEAD")
    for number in range(ENDPOINTS):
        other = await listen(world)
        await send_to(world, other, DIED, state="DEAD")
        await send_to(world, other, int(number < 5))
    with closing(administrator(engine_url)) as server, server.cursor() as cursor:
        for table in ("webhook_deliveries", "webhook_endpoints"):
            cursor.execute(f"ANALYZE TABLE {urlsplit(engine_url).path[1:]}.{table}")

    read = {look: await rows_read_by(look, world, busy) for look in LOOKS}

    assert {look.__name__: rows for look, rows in read.items() if rows > ROWS_READ_MAX} == {}


async def rows_read_by(look: Look, world: OrdersWorld, busy: WebhookEndpoint) -> int:
    before = await rows_read(world)
    assert await look(world, busy)
    return await rows_read(world) - before


async def rows_read(world: OrdersWorld) -> int:
    """Tell how many rows were read so far, by the session that transactions take and by the one that reads take."""
    counted = 0
    for connected in (world.database.snapshot, world.database.transaction):
        async with connected() as connection:
            rows = await connection.fetch("SHOW SESSION STATUS LIKE 'Handler_read%'")
            counted += sum(int(row[1]) for row in rows)
    return counted
