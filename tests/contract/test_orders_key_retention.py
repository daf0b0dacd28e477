"""Old request keys go, on every database, and nothing that is young or under way."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.orders.domain.request_key import KeyRecord, KeyState, Operation, RequestKey
from services.orders.outbound.store import SqlStore
from services.orders.use_cases.forget_keys import KEYS_A_PASS_MAX, forget_keys
from services.orders.wiring import MIGRATIONS
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.ids import new_id
from tests.support.clock import VirtualClock

RETENTION = timedelta(days=30)

USER = new_id()


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    await migrate(database, MIGRATIONS)
    yield database
    await database.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(database: Database, clock: VirtualClock) -> SqlStore:
    return SqlStore(database, clock=clock, patience=timedelta(seconds=5))


def a_key(name: str, clock: VirtualClock) -> KeyRecord:
    request = RequestKey(user_id=USER, key=name, operation=Operation.PLACE, fingerprint=bytes(32))
    return KeyRecord(
        request=request,
        state=KeyState.IN_FLIGHT,
        order_id=new_id(),
        refund_id=None,
        created_at=clock.now(),
        lease_expires_at=clock.now() + timedelta(seconds=30),
        lease_holder=new_id(),
    )


async def claim(store: SqlStore, *keys: KeyRecord) -> None:
    async with store.transaction() as rows:
        for key in keys:
            await rows.keys.claim(key)


async def names(database: Database) -> list[bytes]:
    async with database.snapshot() as connection:
        rows = await connection.fetch("SELECT idempotency_key FROM idempotency_keys ORDER BY idempotency_key")
    return [bytes(name) for (name,) in rows]


async def test_old_keys_go_and_young_ones_stay(database: Database, store: SqlStore, clock: VirtualClock) -> None:
    await claim(store, a_key("old", clock), a_key("older", clock))
    await clock.advance(29 * 24 * 3600)
    await claim(store, a_key("young", clock))
    await clock.advance(2 * 24 * 3600)

    forgotten = await forget_keys(store=store, clock=clock, retention=RETENTION)

    assert forgotten == 2
    assert await names(database) == [b"young"]
    assert await forget_keys(store=store, clock=clock, retention=RETENTION) == 0


async def test_a_key_that_a_request_works_under_stays(database: Database, store: SqlStore, clock: VirtualClock) -> None:
    key = a_key("old", clock)
    await claim(store, key)
    await clock.advance(31 * 24 * 3600)
    async with store.transaction() as rows:
        await rows.keys.lease(key.request, holder=new_id(), lease_expires_at=clock.now() + timedelta(seconds=30))

    under_way = await forget_keys(store=store, clock=clock, retention=RETENTION)
    await clock.advance(31)
    given_up = await forget_keys(store=store, clock=clock, retention=RETENTION)

    assert (under_way, given_up) == (0, 1)
    assert await names(database) == []


async def test_a_flood_of_old_keys_goes_in_bounded_steps(
    database: Database, store: SqlStore, clock: VirtualClock
) -> None:
    await claim(store, *[a_key(f"key-{number}", clock) for number in range(KEYS_A_PASS_MAX + 20)])
    await clock.advance(31 * 24 * 3600)

    first = await forget_keys(store=store, clock=clock, retention=RETENTION)
    second = await forget_keys(store=store, clock=clock, retention=RETENTION)

    assert (first, second) == (KEYS_A_PASS_MAX, 20)
