"""Who leads a book: one at a time, the next within the lease's time, and the chores with the leader."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from services.ledger.committer.committer import committing
from services.ledger.committer.lease import BookLease
from services.runtime.background import background
from services.runtime.clock import SystemClock
from services.runtime.database.migrations import migrate
from services.runtime.database.sqlite import SqliteDatabase
from tests.support.clock import START, VirtualClock
from tests.support.faulty_database import BEFORE_COMMIT, Fault, FaultyDatabase
from tests.support.ledger_commands import deposit
from tests.support.ledger_committer import a_committer
from tests.support.ledger_invariants import assert_money_is_conserved
from tests.support.waiting import eventually

LEASE_SECONDS = 5.0


async def a_book(folder: Path) -> FaultyDatabase:
    database = FaultyDatabase(SqliteDatabase(folder / "ledger.db"))
    await migrate(database, "services.ledger.migrations")
    return database


async def test_one_leads_and_the_next_one_takes_over_when_its_time_is_over(tmp_path: Path) -> None:
    database, clock = await a_book(tmp_path), VirtualClock()
    killed, next_one = [BookLease(database, 1, clock, lease_seconds=LEASE_SECONDS) for _ in range(2)]
    assert await killed.take()
    assert not await next_one.take()
    assert (killed.stands_by, next_one.stands_by) == (False, True)

    await clock.advance(LEASE_SECONDS - 0.1)
    assert (killed.held, await next_one.take()) == (True, False)
    await clock.advance(0.1)

    assert not killed.held, "it knows by itself when its time is over"
    assert await next_one.take()
    assert next_one.fencing_token == killed.fencing_token + 1
    assert not await killed.take()
    assert (killed.stands_by, next_one.stands_by) == (True, False)
    await database.close()


async def test_a_leader_that_renews_stays_the_leader(tmp_path: Path) -> None:
    database, clock = await a_book(tmp_path), VirtualClock()
    leader, other = [BookLease(database, 1, clock, lease_seconds=LEASE_SECONDS) for _ in range(2)]
    await leader.take()
    token = leader.fencing_token

    for _ in range(5):
        await clock.advance(LEASE_SECONDS / 2)
        assert await leader.take()
        assert not await other.take()

    assert leader.fencing_token == token
    await database.close()


async def test_a_leader_with_a_clock_ahead_leads_while_it_renews_and_not_for_long_after(tmp_path: Path) -> None:
    database, ahead, clock = await a_book(tmp_path), VirtualClock(START + timedelta(days=1)), VirtualClock()
    leader, other = BookLease(database, 1, ahead), BookLease(database, 1, clock)

    for _ in range(5):
        await ahead.advance(30)
        await clock.advance(30)
        assert await leader.take()
        assert not await other.take()
    await clock.advance(61)

    assert await other.take()
    await database.close()


async def test_books_have_leaders_of_their_own(tmp_path: Path) -> None:
    database, clock = await a_book(tmp_path), VirtualClock()

    assert await BookLease(database, 1, clock).take()
    assert await BookLease(database, 2, clock).take()
    await database.close()


async def test_a_leader_that_stops_lets_the_next_one_lead_at_once(tmp_path: Path) -> None:
    database = await a_book(tmp_path)
    async with BookLease(database, 1, SystemClock(), lease_seconds=60).kept():
        assert not await BookLease(database, 1, SystemClock()).take()

    assert await BookLease(database, 1, SystemClock()).take()
    await database.close()


async def test_a_renewal_that_fails_is_tried_again_while_the_lease_lasts(tmp_path: Path) -> None:
    database = await a_book(tmp_path)
    lease = BookLease(database, 1, SystemClock(), lease_seconds=2)
    async with lease.kept():
        before = database.transactions
        database.faults = [Fault(0), Fault(BEFORE_COMMIT)]

        await eventually(lambda: database.transactions >= before + 3)

        assert lease.held
    await database.close()


async def test_chores_run_with_the_leader_only_and_move_with_the_lead(tmp_path: Path) -> None:
    database = await a_book(tmp_path)
    one, other = [BookLease(database, 1, SystemClock(), lease_seconds=0.4) for _ in range(2)]
    at_work: list[str] = []

    async def chores(name: str) -> None:
        at_work.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            at_work.remove(name)

    loops = {name: lease.while_held(partial(chores, name)) for name, lease in (("one", one), ("other", other))}
    async with background(loops):
        async with other.kept():
            await eventually(lambda: at_work == ["other"])
            assert not await one.take()
        await one.take()
        await eventually(lambda: at_work == ["one"])
    assert at_work == []
    await database.close()


async def test_a_chore_that_crashes_tells_its_supervisor(tmp_path: Path) -> None:
    database = await a_book(tmp_path)
    lease = BookLease(database, 1, SystemClock())
    await lease.take()

    async def crash() -> None:
        raise ValueError("a chore's own mistake")

    with pytest.raises(ValueError, match="own mistake"):
        await lease.while_held(crash)()
    await database.close()


async def test_of_two_committers_one_leads_and_both_commit(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as one, a_committer(tmp_path) as other:
        assert (one.committer.leader, other.committer.leader) == (True, False)
        assert (one.leads(), other.leads()) == (1, 0)

        for world in (one, other, one, one, other):
            await world.committer.submit(deposit(amount=1))

        assert await one.posted() == 5
        assert other.ahead("kept") == other.ahead("missed") == 0, "who stands by plans nothing ahead"


HOLDER = """
import asyncio, sys
from services.ledger.committer.committer import committing
from services.ledger.committer.committer import committing
from services.ledger.committer.lease import BookLease
from services.runtime.clock import SystemClock
from services.runtime.database.sqlite import SqliteDatabase

async def main():
    database = SqliteDatabase(sys.argv[1])
    lease = BookLease(database, 1, SystemClock(), lease_seconds=1)
    async with committing(database, book_id=1, lease=lease) as committer:
        print("leads" if committer.leader else "stands by", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.ci
async def test_a_leader_that_is_killed_is_followed_within_the_lease_time(tmp_path: Path) -> None:
    database = await a_book(tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(tmp_path / "ledger.db"), stdout=PIPE
    )
    assert process.stdout is not None
    while (said := await process.stdout.readline()) and said != b"leads\n":
        assert said != b"stands by\n"
    next_one = BookLease(database, 1, SystemClock(), lease_seconds=1)
    async with committing(database, book_id=1, lease=next_one) as committer:
        await committer.submit(deposit(amount=1))
        assert not committer.leader

        process.kill()
        await process.wait()
        await committer.submit(deposit(amount=1))

        await eventually(lambda: committer.leader, seconds_max=30)
        await committer.submit(deposit(amount=1))
        assert next_one.fencing_token == 2
    await assert_money_is_conserved(database)
    await database.close()
