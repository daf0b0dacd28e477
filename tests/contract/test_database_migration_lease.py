"""Who may migrate: one process at a time, and the next one when that one died, slept or lost its server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.runtime.database.migration_lease import MigrationLease
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError

LEASE_SECONDS = 3.0
"""Long enough that a busy machine doesn't sleep through it."""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    database = open_database(request.getfixturevalue(f"{request.param}_url"))
    yield database
    await database.close()


def a_lease(database: Database) -> MigrationLease:
    return MigrationLease(database, lease_seconds=LEASE_SECONDS)


async def holder_of(database: Database) -> str:
    async with database.snapshot() as connection:
        ((holder,),) = await connection.fetch("SELECT holder FROM schema_migration_lease")
    return str(holder)


async def test_jobs_run_one_after_the_other_however_long_they_take(database: Database) -> None:
    running = most = 0

    async def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1.2 * LEASE_SECONDS)
        running -= 1

    await asyncio.gather(*(a_lease(database).hold_while(job) for _ in range(2)))

    assert most == 1
    assert await holder_of(database) == ""


async def test_a_holder_that_died_is_followed_after_its_lease(database: Database) -> None:
    async def job() -> str:
        return await holder_of(database)

    await a_lease(database).hold_while(job)
    async with database.transaction() as connection:
        await connection.execute("UPDATE schema_migration_lease SET holder = 'dead', beats = 7")
    began = asyncio.get_running_loop().time()
    holder = await a_lease(database).hold_while(job)

    assert holder not in {"", "dead"}
    assert asyncio.get_running_loop().time() - began > LEASE_SECONDS


async def test_a_holder_that_slept_through_its_lease_records_nothing(database: Database) -> None:
    slept = a_lease(database)

    async def oversleep() -> None:
        async with database.transaction() as connection:
            await connection.execute("UPDATE schema_migration_lease SET holder = 'another', beats = beats + 1")
        async with database.transaction() as connection:
            await slept.fence(connection)

    with pytest.raises(UnavailableError) as raised:
        await slept.hold_while(oversleep)

    assert raised.value.reason == "migration_lease_lost"
    assert await holder_of(database) == "another"


async def test_a_job_ends_when_the_lease_is_lost(database: Database) -> None:
    ended = asyncio.Event()

    async def job() -> None:
        async with database.transaction() as connection:
            await connection.execute("UPDATE schema_migration_lease SET holder = 'another', beats = beats + 1")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(UnavailableError) as raised:
        await a_lease(database).hold_while(job)

    assert raised.value.reason == "migration_lease_lost"
    assert ended.is_set()


async def test_a_job_that_fails_lets_go_at_once(database: Database) -> None:
    async def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await a_lease(database).hold_while(fail)

    assert await holder_of(database) == ""
