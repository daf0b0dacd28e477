"""What every implementation of the `Database` port does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from uuid import UUID

import pytest

from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.ids import new_id

INSERT = "INSERT INTO things (name, amount) VALUES ($1, $2)"
UPSERT = f"{INSERT} ON CONFLICT (name) DO UPDATE SET amount = EXCLUDED.amount"


@pytest.fixture
def database_url(engine_url: str) -> str:
    return engine_url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    async with database.transaction() as connection:
        await connection.execute("CREATE TABLE things (name VARCHAR(64) NOT NULL PRIMARY KEY, amount BIGINT NOT NULL)")
        await connection.execute("CREATE TABLE kinds (id UUID, flag BOOLEAN, number INTEGER, code VARBINARY(64))")
    yield database
    await database.close()


async def names_in(database: Database) -> list[str]:
    async with database.snapshot() as connection:
        return [row[0] for row in await connection.fetch("SELECT name FROM things ORDER BY name")]


async def test_what_a_transaction_wrote_is_there_afterwards(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, "apple", 1)

    assert await names_in(database) == ["apple"]


async def test_an_exception_undoes_the_transaction(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute(INSERT, "apple", 1)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert await names_in(database) == []


async def test_a_transaction_reads_what_it_wrote_and_others_do_not(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, "apple", 1)
        inside = await connection.fetch("SELECT name FROM things FOR UPDATE")
        outside = await asyncio.create_task(names_in(database))

    assert inside == [("apple",)]
    assert outside == []


async def test_a_snapshot_keeps_its_state_while_others_commit(database: Database) -> None:
    async with database.snapshot() as snapshot:
        before = await snapshot.fetch("SELECT name FROM things")
        await asyncio.create_task(insert(database, "apple"))
        after = await snapshot.fetch("SELECT name FROM things")

    assert before == after == []
    assert await names_in(database) == ["apple"]


async def insert(database: Database, name: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, name, 1)


async def test_a_snapshot_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)read.?only"):
        async with database.snapshot() as connection:
            await connection.execute(INSERT, "apple", 1)

    assert await names_in(database) == []


async def add(database: Database, name: str, amount: int) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE things SET amount = amount + $1 WHERE name = $2", amount, name)


async def amount_of(database: Database, name: str) -> int:
    async with database.snapshot() as connection:
        ((amount,),) = await connection.fetch("SELECT amount FROM things WHERE name = $1", name)
    return int(amount)


async def test_transactions_on_one_row_do_not_lose_updates(database: Database) -> None:
    async def add_one() -> None:
        async with database.transaction() as connection:
            ((amount,),) = await connection.fetch("SELECT amount FROM things WHERE name = $1 FOR UPDATE", "apple")
            await asyncio.sleep(0)
            await connection.execute("UPDATE things SET amount = $1 WHERE name = $2", amount + 1, "apple")

    await insert(database, "apple")
    await asyncio.gather(*(add_one() for _ in range(50)))

    async with database.snapshot() as connection:
        assert await connection.fetch("SELECT amount FROM things") == [(51,)]


async def test_the_number_of_changed_rows_is_told(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute_many(INSERT, [("a", 1), ("b", 1), ("c", 2)])

        assert await connection.execute("UPDATE things SET amount = 5 WHERE amount = $1", 1) == 2
        assert await connection.execute("UPDATE things SET amount = 5 WHERE amount = $1", 77) == 0
        assert await connection.execute(f"{INSERT} ON CONFLICT (name) DO NOTHING", "a", 1) == 0
        assert await connection.execute("DELETE FROM things") == 3


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 3_000])
async def test_many_rows_are_written_in_their_order(database: Database, count: int) -> None:
    rows = [(f"name-{number:05}", number) for number in range(count)]

    async with database.transaction() as connection:
        await connection.execute_many(INSERT, iter(rows))
        await connection.execute_many(UPSERT, [(name, amount + 1) for name, amount in rows])

    async with database.snapshot() as connection:
        stored = await connection.fetch("SELECT name, amount FROM things ORDER BY name")
    assert stored == [(name, amount + 1) for name, amount in rows]


async def test_of_two_upserts_of_one_key_the_later_wins(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute_many(UPSERT, [("apple", 1), ("pear", 2), ("apple", 3)])

    async with database.snapshot() as connection:
        assert await connection.fetch("SELECT name, amount FROM things ORDER BY name") == [("apple", 3), ("pear", 2)]


async def test_a_statement_that_is_no_insert_runs_for_many_rows_too(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute_many(INSERT, [("a", 1), ("b", 1)])
        await connection.execute_many("UPDATE things SET amount = $2 WHERE name = $1", [("a", 7), ("b", 8)])

        assert await connection.fetch("SELECT name, amount FROM things ORDER BY name") == [("a", 7), ("b", 8)]


async def test_a_list_of_any_length_finds_each_row_once(database: Database) -> None:
    names = [f"name-{number:05}" for number in range(1_500)]
    async with database.transaction() as connection:
        await connection.execute_many(INSERT, [(name, 1) for name in names])

    async with database.snapshot() as connection:
        sql = "SELECT name FROM things WHERE amount = $1 AND name IN ($in)"
        found = await connection.fetch_in(sql, [*names, *names, "nobody"], 1)
        nothing = await connection.fetch_in(sql, [], 1)

    assert sorted(row[0] for row in found) == names
    assert nothing == []


async def test_values_come_back_as_they_went_in(database: Database) -> None:
    row = (new_id(), True, -(2**31), b"\x00\xff'")
    nothing = (None, None, None, None)

    async with database.transaction() as connection:
        await connection.execute_many("INSERT INTO kinds (id, flag, number, code) VALUES ($1, $2, $3, $4)", [row])
        found = await connection.fetch("SELECT id, flag, number, code FROM kinds WHERE id = $1", row[0])
        await connection.execute("DELETE FROM kinds")
        await connection.execute("INSERT INTO kinds (id, flag, number, code) VALUES ($1, $2, $3, $4)", *nothing)
        empty = await connection.fetch("SELECT id, flag, number, code FROM kinds")

    assert found == [row]
    assert isinstance(found[0][0], UUID)
    assert empty == [nothing]


async def test_the_largest_amounts_are_kept_exactly(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute_many(INSERT, [("most", 2**63 - 1), ("least", -(2**63)), ("json", 2**53 - 1)])

        found = await connection.fetch("SELECT name, amount FROM things ORDER BY amount")

    assert found == [("least", -(2**63)), ("json", 2**53 - 1), ("most", 2**63 - 1)]


async def test_returning_is_refused_before_it_runs(database: Database) -> None:
    async with database.transaction() as connection:
        with pytest.raises(ValueError, match="RETURNING"):
            await connection.execute(f"{INSERT} RETURNING name", "apple", 1)

    assert await names_in(database) == []


async def test_a_transaction_inside_a_transaction_is_refused(database: Database) -> None:
    async with database.transaction() as connection:
        with pytest.raises(RuntimeError, match="inside a transaction"):
            async with database.transaction():
                pass
        with pytest.raises(RuntimeError, match="inside a transaction"):
            async with database.snapshot():
                pass
        await connection.execute(INSERT, "apple", 1)

    assert await names_in(database) == ["apple"]


async def test_a_task_started_inside_a_transaction_is_not_in_it(database: Database) -> None:
    await insert(database, "apple")

    async with database.transaction() as connection:
        await connection.execute("UPDATE things SET amount = amount + 1 WHERE name = $1", "apple")
        started = asyncio.create_task(add(database, "apple", 10))
        await asyncio.sleep(0.02)
        assert not started.done()
    await started

    assert await amount_of(database, "apple") == 12


async def test_a_connection_is_of_no_use_after_its_transaction(database: Database) -> None:
    async with database.transaction() as connection:
        pass

    with pytest.raises(RuntimeError, match="ended"):
        await connection.execute(INSERT, "apple", 1)


async def test_several_tasks_may_share_a_connection(database: Database) -> None:
    async with database.transaction() as connection:
        await asyncio.gather(*(connection.execute(INSERT, f"name-{number}", 1) for number in range(20)))

    assert len(await names_in(database)) == 20


async def cancelled_after(steps: int, work: Callable[[], Awaitable[None]]) -> bool:
    """Run until so many turns of the event loop passed, then cancel; tell whether it had ended by itself."""
    task = asyncio.ensure_future(work())
    for _ in range(steps):
        if task.done():
            break
        await asyncio.sleep(0)
    ended = task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return ended


async def test_cancellation_at_any_moment_leaves_all_or_nothing(database: Database) -> None:
    committed: list[str] = []

    async def write(name: str) -> None:
        async with database.transaction() as connection:
            await asyncio.sleep(0)
            await connection.execute(INSERT, f"{name}-1", 1)
            await asyncio.sleep(0)
            await connection.fetch("SELECT name FROM things")
            await connection.execute_many(INSERT, [(f"{name}-2", 1)])
            await asyncio.sleep(0)
        committed.append(name)

    for steps in range(40):
        name = f"try-{steps:03}"
        await cancelled_after(steps, lambda name=name: write(name))  # type: ignore[misc] # bound at once, on purpose
        stored = [stored for stored in await names_in(database) if stored.startswith(name)]
        assert stored in ([], [f"{name}-1", f"{name}-2"])
        assert stored or name not in committed
    await write("last")

    assert "last" in committed


async def test_a_waiter_that_is_cancelled_keeps_nobody_from_his_turn(database: Database) -> None:
    await insert(database, "apple")

    async with database.transaction() as connection:
        await connection.fetch("SELECT amount FROM things WHERE name = $1 FOR UPDATE", "apple")
        waiting = [asyncio.create_task(add(database, "apple", amount)) for amount in (10, 100, 1_000)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert await amount_of(database, "apple") == 1_001


async def test_closing_waits_for_the_transaction_under_way(database: Database) -> None:
    async def slow() -> None:
        async with database.transaction() as connection:
            await asyncio.sleep(0.05)
            await connection.execute(INSERT, "apple", 1)

    under_way = asyncio.create_task(slow())
    await asyncio.sleep(0.01)
    await database.close()

    await under_way
    with pytest.raises(UnavailableError):
        await names_in(database)


async def test_what_was_committed_is_there_after_reopening(database_url: str, database: Database) -> None:
    await insert(database, "apple")
    await database.close()

    reopened = open_database(database_url)
    try:
        assert await names_in(reopened) == ["apple"]
    finally:
        await reopened.close()


async def test_two_that_open_one_database_take_turns(database_url: str, database: Database) -> None:
    other = open_database(database_url)

    async def write(into: Database, name: str) -> None:
        for number in range(20):
            await insert(into, f"{name}-{number}")

    try:
        await asyncio.gather(write(database, "one"), write(other, "two"))
    finally:
        await other.close()

    assert len(await names_in(database)) == 40


async def test_an_error_of_a_statement_comes_out_and_the_next_transaction_works(database: Database) -> None:
    await insert(database, "apple")

    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        await insert(database, "apple")
    await insert(database, "pear")

    assert await names_in(database) == ["apple", "pear"]
