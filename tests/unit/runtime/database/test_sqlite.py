"""What is SQLite's own, past the contract of all databases."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import UnavailableError

INSERT = "INSERT INTO things (name) VALUES ($1)"

REPOSITORY = Path(__file__).parents[4]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "things.db", busy_timeout_seconds=5)
    async with database.transaction() as connection:
        await connection.execute("CREATE TABLE things (name VARCHAR(64) NOT NULL PRIMARY KEY)")
    yield database
    await database.close()


@pytest.fixture
def stranger(database: SqliteDatabase) -> sqlite3.Connection:
    """Another process, as far as SQLite can tell."""
    return sqlite3.connect(database.path, isolation_level=None, timeout=0)


async def insert(database: SqliteDatabase, name: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, name)


async def count(database: SqliteDatabase) -> int:
    async with database.snapshot() as connection:
        ((total,),) = await connection.fetch("SELECT COUNT(*) FROM things")
    return int(total)


async def test_commits_reach_the_disk_and_references_are_checked(database: SqliteDatabase) -> None:
    async with database.transaction() as connection:
        pragmas = [await connection.fetch(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")]

    assert pragmas == [[("wal",)], [(2,)], [(1,)]]


async def test_a_transaction_waits_for_another_process_and_the_loop_goes_on(
    database: SqliteDatabase, stranger: sqlite3.Connection
) -> None:
    stranger.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(insert(database, "apple"))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not waiting.done()
    stranger.execute("ROLLBACK")
    stranger.close()

    await waiting

    assert await count(database) == 1


async def test_a_process_that_never_ends_its_transaction_makes_others_unavailable(
    database: SqliteDatabase, stranger: sqlite3.Connection, tmp_path: Path
) -> None:
    hasty = SqliteDatabase(database.path, busy_timeout_seconds=0.1)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(UnavailableError) as raised:
            await insert(hasty, "apple")
    finally:
        stranger.close()

    await insert(hasty, "pear")
    await hasty.close()
    assert raised.value.reason == "database_busy"


async def test_a_task_that_waits_too_long_for_its_turn_is_told(database: SqliteDatabase) -> None:
    hasty = SqliteDatabase(database.path, busy_timeout_seconds=0.05)
    async with hasty.transaction():
        with pytest.raises(UnavailableError) as raised:
            await asyncio.create_task(insert(hasty, "apple"))
    await hasty.close()

    assert raised.value.reason == "database_busy"


async def test_cancelling_while_another_process_writes_ends_at_once(
    database: SqliteDatabase, stranger: sqlite3.Connection
) -> None:
    stranger.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(insert(database, "apple"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    async with asyncio.timeout(0.5):
        with pytest.raises(asyncio.CancelledError):
            await waiting
    stranger.close()

    await insert(database, "pear")

    assert await count(database) == 1


async def test_a_long_query_leaves_the_loop_free_and_gives_all_its_rows(database: SqliteDatabase) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    async with database.snapshot() as connection:
        ((total,),) = await connection.fetch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT SUM(i) FROM n"
        )
    ticking.cancel()

    assert total == 3_000_000 * 3_000_001 // 2
    assert ticks >= 5


async def test_a_long_query_can_be_cancelled(database: SqliteDatabase) -> None:
    async def never() -> None:
        async with database.snapshot() as connection:
            await connection.fetch(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT SUM(i) FROM n"
            )

    running = asyncio.create_task(never())
    await asyncio.sleep(0.05)
    running.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await running

    assert await count(database) == 0


async def test_a_transaction_that_sqlite_rolled_back_commits_nothing_of_itself(database: SqliteDatabase) -> None:
    async def go_on_after_a_full_disk() -> None:
        async with database.transaction() as connection:
            await connection.execute(INSERT, "apple")
            # What SQLite does by itself when the disk is full.
            session = database._pool._writer
            session.run_now("ROLLBACK")
            with pytest.raises(UnavailableError):
                await connection.execute(INSERT, "pear")

    with pytest.raises(UnavailableError) as raised:
        await go_on_after_a_full_disk()

    assert raised.value.reason == "transaction_rolled_back"
    assert await count(database) == 0


async def test_a_full_disk_is_unavailable(database: SqliteDatabase) -> None:
    async def fill() -> None:
        async with database.transaction() as connection:
            await connection.execute("PRAGMA max_page_count = 10")
            await connection.execute_many(INSERT, [(f"{number:064}",) for number in range(5_000)])

    with pytest.raises(UnavailableError) as raised:
        await fill()

    assert raised.value.reason == "database_full"
    assert await count(database) == 0


async def test_readers_wait_for_each_other_when_all_are_taken(database: SqliteDatabase) -> None:
    few = SqliteDatabase(database.path, readers_max=2)
    await insert(few, "apple")

    counts = await asyncio.gather(*(count(few) for _ in range(20)))

    await few.close()
    assert counts == [1] * 20


WRITER = """
import asyncio, sys
from services.runtime.database.sqlite import SqliteDatabase

async def main():
    database = SqliteDatabase(sys.argv[1])
    for number in range(int(sys.argv[3])):
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO things (name) VALUES ($1)", f"{sys.argv[2]}-{number}")
        print(number, flush=True)
    await database.close()

asyncio.run(main())
"""


def start_writer(path: Path, name: str, rows: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(rows)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )


async def test_processes_that_share_a_file_take_turns(database: SqliteDatabase) -> None:
    writers = [start_writer(database.path, f"writer-{number}", 50) for number in range(3)]
    for number in range(50):
        await insert(database, f"here-{number}")

    for writer in writers:
        await asyncio.to_thread(writer.communicate)

    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert await count(database) == 200


async def test_what_was_committed_survives_the_kill_of_its_process(database: SqliteDatabase) -> None:
    writer = start_writer(database.path, "victim", 1_000_000)
    assert writer.stdout is not None
    last = -1
    while last < 100:
        last = int(await asyncio.to_thread(writer.stdout.readline))
    writer.send_signal(signal.SIGKILL)
    rest, _ = await asyncio.to_thread(writer.communicate)
    told = int(rest.split()[-1]) if rest.split() else last

    assert await count(database) >= told + 1
    await insert(database, "after")
