"""How late and how full the parts are, as metrics tell it: outboxes, sessions, orders that are due, the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from services.gateway.metrics import RedisMetrics
from services.gateway.outbound.redis_connection import RedisConnection
from services.orders.metrics import OrdersMetrics
from services.orders.outbound.due_orders import DueOrders
from services.orders.wiring import MIGRATIONS
from services.runtime.clock import to_micros
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.ids import new_id
from services.runtime.metrics_database import watch_database
from services.runtime.metrics_event_loop import EventLoopWatch
from services.runtime.outbox import OutboxRelay, RelaySettings
from services.runtime.outbox_lag import OutboxLag
from tests.support.clock import VirtualClock
from tests.support.fake_producer import FakeProducer
from tests.support.outbox import STREAM, an_event, publish_all, write, write_one_by_one
from tests.support.plumbing_tables import create_plumbing_tables
from tests.support.waiting import eventually

ADD_ORDER = """
    INSERT INTO orders (order_id, version, state, buyer_id, capture, currency, total_minor, captured_minor,
        refunded_minor, fee_basis_points, rejection_reason, rejection_message, created_at, updated_at, expires_at,
        due_at, looks)
    VALUES ($1, 1, 'PENDING', $1, 'automatic', 'EUR', 100, 0, 0, 0, '', '', 0, 0, 0, $2, 0)
"""


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    yield database
    await database.close()


async def test_what_an_outbox_holds_is_counted_and_its_oldest_event_dated(database: Database) -> None:
    await create_plumbing_tables(database)
    registry, clock = CollectorRegistry(), VirtualClock()
    lag = OutboxLag(database, STREAM, clock, registry)

    def shown() -> tuple[float | None, float | None]:
        return tuple(  # type: ignore[return-value]  # two names, two values
            registry.get_sample_value(f"tradeflow_outbox_lag_{unit}", {"stream": STREAM})
            for unit in ("seconds", "events")
        )

    await lag.measure()
    assert shown() == (0, 0)
    await write(database, *(an_event(str(number)) for number in range(5)))
    await write_one_by_one(database, an_event("a"), an_event("b"))
    await clock.advance(40)
    await lag.measure()
    assert shown() == (40, 7)

    settings = RelaySettings(batch_events_max=1, cursor_every_seconds=0, retention=None)
    relay = OutboxRelay(database, FakeProducer(), STREAM, clock, settings)
    await relay.publish_next()
    await lag.measure()
    assert shown() == (40, 2)
    await publish_all(relay)
    await lag.measure()
    assert shown() == (0, 0)


async def test_orders_that_nobody_looked_after_are_counted(database: Database) -> None:
    await migrate(database, MIGRATIONS)
    registry, clock = CollectorRegistry(), VirtualClock()
    due = DueOrders(database, clock, OrdersMetrics(registry))
    now_micros = to_micros(clock.now())
    async with database.transaction() as connection:
        for due_at in (now_micros + 1_000_000, now_micros + 10_000_000, None):
            await connection.execute(ADD_ORDER, new_id(), due_at)

    await due.measure()
    assert registry.get_sample_value("tradeflow_orders_due") == 0
    await clock.advance(5)
    await due.measure()
    assert registry.get_sample_value("tradeflow_orders_due") == 1
    assert registry.get_sample_value("tradeflow_orders_due_lag_seconds") == 4


async def test_sessions_in_use_and_those_who_wait_for_one_are_shown(database: Database) -> None:
    registry = CollectorRegistry()
    watch_database(database, registry)

    def shown(name: str, **labels: str) -> int:
        value = registry.get_sample_value(f"tradeflow_database_{name}", {"pool": "write", **labels})
        assert value is not None
        return int(value)

    most = shown("sessions_max")
    assert (shown("sessions", state="lent"), shown("waiting")) == (0, 0)

    free = asyncio.Event()

    async def hold() -> None:
        async with database.transaction():
            await free.wait()

    holders = [asyncio.create_task(hold()) for _ in range(most + 2)]
    await eventually(lambda: (shown("sessions", state="lent"), shown("waiting")) == (most, 2))
    free.set()
    await asyncio.gather(*holders)
    assert (shown("sessions", state="lent"), shown("waiting")) == (0, 0)
    assert shown("sessions", state="idle") > 0


async def test_a_loop_that_is_held_up_shows_by_how_much() -> None:
    registry = CollectorRegistry()
    task = asyncio.create_task(EventLoopWatch(registry).run())

    def looks(*, at_most_seconds: str) -> float:
        name = "tradeflow_event_loop_delay_seconds_bucket"
        return registry.get_sample_value(name, {"le": at_most_seconds}) or 0.0

    await asyncio.sleep(0)
    time.sleep(0.9)  # noqa: ASYNC251 - what a computation would do
    await eventually(lambda: looks(at_most_seconds="+Inf") > 0)
    assert looks(at_most_seconds="0.5") < looks(at_most_seconds="+Inf")
    task.cancel()


async def test_a_redis_that_is_away_shows_as_such_and_is_left_alone_for_a_moment() -> None:
    registry = CollectorRegistry()
    redis = RedisConnection("redis://127.0.0.1:1/0", pause_seconds=60, metrics=RedisMetrics(registry))
    assert registry.get_sample_value("tradeflow_redis_up") == 1

    for _ in range(3):
        with pytest.raises(UnavailableError):
            await redis.check_ready()
    await redis.close()

    assert registry.get_sample_value("tradeflow_redis_up") == 0
    failed = registry.get_sample_value("tradeflow_redis_call_duration_seconds_count", {"outcome": "failed"})
    assert (failed, registry.get_sample_value("tradeflow_redis_calls_skipped_total")) == (1, 2)
