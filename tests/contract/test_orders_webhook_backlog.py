"""An endpoint that nobody answers at, with a long backlog, costs the others nothing, on every database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from services.orders.domain.webhook import WebhookEndpoint
from services.orders.inbound.webhooks_loop import DeliveringLoop
from services.orders.metrics import WebhookMetrics
from services.orders.outbound.webhook_overview import endpoint_is_there
from services.orders.outbound.webhook_rows import READ_DUE, READ_TURNS, SqlWebhookRows
from services.orders.use_cases.deliver_webhooks import DELIVERIES_A_PASS_MAX, PASS_SECONDS_MAX, TAKEN_FOR
from services.orders.webhook_ports import Attempt, TakenDelivery
from services.runtime.database.port import Connection
from services.runtime.ids import new_id
from tests.parts.sql_servers import administrator
from tests.support.fake_endpoints import FakeEndpoints
from tests.support.orders_world import OrdersWorld, orders_world
from tests.support.waiting import eventually
from tests.support.webhooks import deliver, listen, send_to

BACKLOG = 3_000
"""Far more than a pass takes, and soon written."""

ROWS_READ_MAX = 500
"""For a pass over three endpoints: far less than the backlog."""

ON_SERVERS = pytest.mark.parametrize(
    "engine_url", [pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")], indirect=True
)


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


async def leave_alone(world: OrdersWorld, endpoint: WebhookEndpoint) -> None:
    """Say that an endpoint failed, and is to be left alone for a while."""
    async with world.real_store.transaction() as rows:
        await rows.webhooks.judge(endpoint, failures=9, resumes_at=world.clock.now() + timedelta(minutes=5))


async def take(connection: Connection, world: OrdersWorld) -> list[UUID]:
    now = world.clock.now()
    taken = await SqlWebhookRows(connection).take_due(
        now, failing=False, taken_until=now + TAKEN_FOR, rows_max=DELIVERIES_A_PASS_MAX
    )
    return [one.endpoint.endpoint_id for one in taken]


def count_rows(url: str) -> None:
    """Let the server look at its indexes, as it does by itself some seconds after many changes."""
    with closing(administrator(url)) as server, server.cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {urlsplit(url).path[1:]}.webhook_deliveries")


async def rows_read(connection: Connection) -> int:
    """Tell how many rows this connection's server read for it so far."""
    counted = await connection.fetch("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(row[1]) for row in counted)


async def test_who_is_well_is_told_though_a_dead_endpoint_has_waited_longer(world: OrdersWorld) -> None:
    dead, well = await listen(world), await listen(world)
    await send_to(world, dead, BACKLOG)
    await world.clock.advance(1)
    await send_to(world, well, 3)

    async with world.database.transaction() as connection:
        taken = await take(connection, world)

    assert taken.count(well.endpoint_id) == 3, "it has its share of a pass also where others wait longer"
    assert taken.count(dead.endpoint_id) == DELIVERIES_A_PASS_MAX // 2


async def test_all_who_wait_have_their_turn(world: OrdersWorld) -> None:
    endpoints = [await listen(world) for _ in range(DELIVERIES_A_PASS_MAX + 5)]
    for endpoint in endpoints:
        await send_to(world, endpoint, 2)
    fakes = FakeEndpoints()

    passes = 0
    while (await deliver(world, fakes)).taken:
        passes += 1

    assert [len(fakes.taken[endpoint.endpoint_id]) for endpoint in endpoints] == [2] * len(endpoints)
    assert passes <= 5


@ON_SERVERS
async def test_a_pass_reads_no_backlog_of_an_endpoint_that_is_left_alone(world: OrdersWorld, engine_url: str) -> None:
    dead, well, busy = [await listen(world) for _ in range(3)]
    await send_to(world, dead, BACKLOG)
    await send_to(world, busy, BACKLOG, state="DELIVERED")
    await leave_alone(world, dead)
    await send_to(world, well, 3)
    count_rows(engine_url)

    async with world.database.transaction() as connection:
        before = await rows_read(connection)
        taken = await take(connection, world)
        read = await rows_read(connection) - before

    assert taken == [well.endpoint_id] * 3
    assert read < ROWS_READ_MAX


@ON_SERVERS
async def test_a_pass_reads_its_share_of_a_backlog(world: OrdersWorld, engine_url: str) -> None:
    first, second = await listen(world), await listen(world)
    await send_to(world, first, BACKLOG)
    await send_to(world, second, BACKLOG)
    count_rows(engine_url)

    async with world.database.transaction() as connection:
        before = await rows_read(connection)
        taken = await take(connection, world)
        read = await rows_read(connection) - before

    assert len(taken) == DELIVERIES_A_PASS_MAX
    assert read < ROWS_READ_MAX


async def plan_of(world: OrdersWorld, sql: str, *arguments: object) -> Sequence[str]:
    async with world.database.snapshot() as connection:
        return [row[-1] for row in await connection.fetch(f"EXPLAIN QUERY PLAN {sql}", *arguments)]


@pytest.mark.parametrize("engine_url", ["sqlite"], indirect=True)
async def test_each_endpoints_turn_is_found_by_an_index(world: OrdersWorld) -> None:
    turns = await plan_of(world, READ_TURNS, 1, 1, 0, 0, 64)
    due = await plan_of(world, READ_DUE, new_id(), 1, 64)

    assert "SEARCH d USING COVERING INDEX webhook_deliveries_by_turn (endpoint_id=? AND state=?)" in turns
    assert "SEARCH e USING INDEX webhook_endpoints_by_turn (removed_at=? AND resumes_at<?)" in turns
    assert due == [
        "SEARCH webhook_deliveries USING INDEX webhook_deliveries_by_turn (endpoint_id=? AND state=? AND due_at<?)"
    ]


class HangingEndpoints(FakeEndpoints):
    """Some of them never answer."""

    def __init__(self, *hanging: WebhookEndpoint) -> None:
        super().__init__()
        self._hanging = {endpoint.endpoint_id for endpoint in hanging}
        self.hang = asyncio.Event()
        self.asked: Counter[UUID] = Counter()

    async def send(self, taken: TakenDelivery, *, secrets: Sequence[bytes], now: datetime) -> Attempt:
        if taken.endpoint.endpoint_id in self._hanging:
            self.asked[taken.endpoint.endpoint_id] += 1
            self.hang.set()
            await asyncio.Event().wait()
        return await super().send(taken, secrets=secrets, now=now)


def a_loop(world: OrdersWorld, endpoints: FakeEndpoints, wakes: asyncio.Event, *, failing: bool) -> DeliveringLoop:
    return DeliveringLoop(
        failing=failing,
        store=world.store,
        sender=endpoints,
        is_there=partial(endpoint_is_there, world.database),
        clock=world.clock,
        metrics=WebhookMetrics(CollectorRegistry()),
        wakes=wakes,
        attempts_max=3,
        pause_seconds=1,
    )


@asynccontextmanager
async def running(*loops: DeliveringLoop) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.parametrize("engine_url", ["sqlite"], indirect=True)
async def test_who_is_well_waits_for_none_that_failed_before_and_hangs(world: OrdersWorld) -> None:
    dead, well = await listen(world), await listen(world)
    await send_to(world, dead, 1)
    await leave_alone(world, dead)
    await world.clock.advance(301)
    endpoints, wakes = HangingEndpoints(dead), asyncio.Event()

    async with running(*(a_loop(world, endpoints, wakes, failing=failing) for failing in (False, True))):
        await asyncio.wait_for(endpoints.hang.wait(), timeout=10)
        await send_to(world, well, 3)
        wakes.set()
        await eventually(lambda: len(endpoints.taken[well.endpoint_id]) == 3)


@pytest.mark.parametrize("engine_url", ["sqlite"], indirect=True)
async def test_nobody_waits_for_who_takes_messages_slowly(world: OrdersWorld) -> None:
    slow, well = await listen(world), await listen(world)
    await send_to(world, slow, 3)
    endpoints, wakes = HangingEndpoints(slow), asyncio.Event()

    async with running(a_loop(world, endpoints, wakes, failing=False)):
        await asyncio.wait_for(endpoints.hang.wait(), timeout=10)
        for _ in range(2):
            await send_to(world, well, 3)
            await world.clock.advance(PASS_SECONDS_MAX)
            wakes.set()
            await eventually(lambda: len(endpoints.taken[well.endpoint_id]) == 3, seconds_max=10)
            endpoints.taken.clear()

    assert endpoints.asked[slow.endpoint_id] == 1, "one call at a time, and none of its other messages meanwhile"


@pytest.mark.parametrize("engine_url", ["sqlite"], indirect=True)
async def test_what_was_under_way_when_the_loop_ended_is_sent_again_later(world: OrdersWorld) -> None:
    slow, wakes = await listen(world), asyncio.Event()
    await send_to(world, slow, 1)
    hanging, answering = HangingEndpoints(slow), FakeEndpoints()

    async with running(a_loop(world, hanging, wakes, failing=False)):
        await asyncio.wait_for(hanging.hang.wait(), timeout=10)
    at_once = await deliver(world, answering)
    await world.clock.advance(TAKEN_FOR.total_seconds())
    later = await deliver(world, answering)

    assert (at_once.taken, later.delivered) == (0, 1)
