"""What the MySQL adapter does about its connections: round trips, lost ones, deadlines, locks, TLS."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from services.runtime.database.port import Database, Query
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.mysql.server import UnsupportedServerError
from tests.parts.server import Server
from tests.parts.sql_servers import administrator
from tests.support.cut_connection import CutConnection
from tests.support.waiting import eventually

INSERT = "INSERT INTO things (name, amount) VALUES ($1, $2)"
LOCK = "SELECT amount FROM things WHERE name = $1 FOR UPDATE"
NAMES = "SELECT name FROM things ORDER BY name"


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")],
)
def url(request: pytest.FixtureRequest) -> str:
    server_url: str = request.getfixturevalue(f"{request.param}_url")
    return server_url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with opened(url) as database:
        async with database.transaction() as connection:
            await connection.execute("CREATE TABLE things (name VARCHAR(64) NOT NULL PRIMARY KEY, amount BIGINT)")
            await connection.execute(INSERT, "apple", 1)
        yield database


@pytest.fixture
async def proxy(url: str, database: Database) -> AsyncIterator[CutConnection]:
    assert database.definitions_commit
    async with CutConnection(url) as proxy:
        yield proxy


async def names_in(database: Database) -> list[str]:
    async with database.snapshot() as connection:
        return [row[0] for row in await connection.fetch(NAMES)]


async def insert(database: Database, name: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, name, 1)


async def insert_at_commit(database: Database, name: str) -> None:
    async with database.transaction() as connection:
        await connection.fetch(LOCK, "apple")
        await connection.write_at_commit(INSERT, [(name, 1)])


async def sessions_of(database: Database) -> int:
    """Count the sessions that wait or work in the test's schema, this one aside."""
    async with database.snapshot() as connection:
        ((count,),) = await connection.fetch(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
    return int(count)


async def test_a_transaction_that_reads_and_writes_is_two_round_trips(proxy: CutConnection) -> None:
    async with opened(proxy.url) as database:
        await nothing_in_a_transaction(database)
        before = proxy.requests
        async with database.transaction() as connection:
            await connection.fetch_together([Query(LOCK, ("apple",)), Query(NAMES)])
            await connection.write_at_commit(INSERT, [("pear", 1)])
            await connection.write_at_commit("UPDATE things SET amount = $1", [(2,)])

        assert proxy.requests - before == 2
        assert await names_in(database) == ["apple", "pear"]


async def test_a_transaction_that_does_nothing_says_nothing(proxy: CutConnection) -> None:
    async with opened(proxy.url) as database:
        await nothing_in_a_transaction(database)
        before = proxy.requests
        async with database.transaction() as connection:
            await connection.write_at_commit(INSERT, [])
            await connection.fetch_in("SELECT name FROM things WHERE name IN ($in)", [])

        assert proxy.requests == before


async def test_a_connection_that_died_while_it_was_idle_is_replaced(proxy: CutConnection) -> None:
    async with opened(proxy.url) as database:
        await insert(database, "pear")
        proxy.cut()
        await insert(database, "plum")
        proxy.cut()
        names = await names_in(database)

    assert names == ["apple", "pear", "plum"]


async def test_a_connection_that_dies_with_the_first_statement_is_replaced(proxy: CutConnection) -> None:
    async with opened(proxy.url) as database:
        await insert(database, "pear")
        proxy.lose_request = b"INSERT"
        await insert(database, "plum")
        names = await names_in(database)

    assert names == ["apple", "pear", "plum"]


async def test_a_connection_lost_in_the_middle_undoes_everything(proxy: CutConnection, database: Database) -> None:
    async def write(through: Database) -> None:
        async with through.transaction() as connection:
            await connection.execute(INSERT, "pear", 1)
            proxy.lose_answer = b"plum"
            await connection.execute(INSERT, "plum", 1)

    async with opened(proxy.url) as through:
        with pytest.raises(UnavailableError) as raised:
            await write(through)
        await insert(through, "quince")

    assert raised.value.reason == "database_unreachable"
    assert await names_in(database) == ["apple", "quince"]


@pytest.mark.parametrize("write", [insert, insert_at_commit])
async def test_a_commit_whose_request_is_lost_is_unknown_and_did_not_happen(
    proxy: CutConnection, database: Database, write: Callable[[Database, str], object]
) -> None:
    async with opened(proxy.url) as through:
        await nothing_in_a_transaction(through)
        proxy.lose_request = b"COMMIT"
        with pytest.raises(UnavailableError) as raised:
            await write(through, "pear")  # type: ignore[misc] # both are coroutine functions

    assert raised.value.reason == "transaction_outcome_unknown"
    assert await names_in(database) == ["apple"]


@pytest.mark.parametrize("write", [insert, insert_at_commit])
async def test_a_commit_whose_answer_is_lost_is_unknown_and_happened(
    proxy: CutConnection, database: Database, write: Callable[[Database, str], object]
) -> None:
    async with opened(proxy.url) as through:
        await nothing_in_a_transaction(through)
        proxy.lose_answer = b"COMMIT"
        with pytest.raises(UnavailableError) as raised:
            await write(through, "pear")  # type: ignore[misc] # both are coroutine functions

    assert raised.value.reason == "transaction_outcome_unknown"
    assert await names_in(database) == ["apple", "pear"]


async def test_a_task_cancelled_in_the_middle_of_a_statement_leaves_no_lock(database: Database) -> None:
    holding = asyncio.Event()
    release = asyncio.Event()

    async def hold() -> None:
        async with database.transaction() as connection:
            await connection.fetch(LOCK, "apple")
            holding.set()
            await release.wait()

    async def wait_for_lock() -> None:
        async with database.transaction() as connection:
            await connection.execute(INSERT, "pear", 1)
            await connection.fetch(LOCK, "apple")

    holder = asyncio.create_task(hold())
    await holding.wait()
    waiter = asyncio.create_task(wait_for_lock())
    await asyncio.sleep(0.1)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    # Also the row that the waiter had inserted is free, though its session waited for another one.
    async with asyncio.timeout(1):
        await insert(database, "pear")
    release.set()
    await holder

    assert await names_in(database) == ["apple", "pear"]


async def test_a_row_that_stays_locked_is_busy_and_the_transaction_is_over(url: str, database: Database) -> None:
    async def write(into: Database) -> None:
        async with into.transaction() as connection:
            await connection.execute(INSERT, "pear", 1)
            with pytest.raises(UnavailableError) as raised:
                await connection.fetch(LOCK, "apple")
            assert raised.value.reason == "database_busy"
            await connection.execute(INSERT, "plum", 1)

    async with opened(f"{url}?lock_timeout_seconds=1") as impatient, database.transaction() as connection:
        await connection.fetch(LOCK, "apple")
        with pytest.raises(UnavailableError) as raised:
            await asyncio.create_task(write(impatient))

    assert raised.value.reason == "transaction_rolled_back"
    assert await names_in(database) == ["apple"]


async def test_a_deadlock_is_busy_and_one_of_the_two_goes_on(database: Database) -> None:
    await insert(database, "pear")
    both = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with database.transaction() as connection:
            await connection.fetch(LOCK, first)
            await both.wait()
            await connection.fetch(LOCK, second)

    ended = await asyncio.gather(lock("apple", "pear"), lock("pear", "apple"), return_exceptions=True)

    (error,) = [end for end in ended if end is not None]
    assert isinstance(error, UnavailableError)
    assert error.reason == "database_busy"


async def test_a_pool_without_a_free_connection_is_busy(url: str) -> None:
    async with opened(f"{url}?pool_max=1&acquire_timeout_seconds=0.2") as database:
        async with database.transaction():
            with pytest.raises(UnavailableError, match=r"none of 1 connections came free in 0\.2 s") as raised:
                await asyncio.create_task(nothing_in_a_transaction(database))
        await nothing_in_a_transaction(database)

    assert raised.value.reason == "database_busy"


async def nothing_in_a_transaction(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.fetch("SELECT 1")


async def test_slow_reads_keep_no_transaction_from_a_connection(url: str, database: Database) -> None:
    reading, enough = asyncio.Barrier(3), asyncio.Event()

    async def read_slowly(shared: Database) -> None:
        async with shared.snapshot() as connection:
            await connection.fetch(NAMES)
            await reading.wait()
            await enough.wait()

    async with opened(f"{url}?read_pool_max=2&acquire_timeout_seconds=0.5") as shared:
        readers = [asyncio.create_task(read_slowly(shared)) for _ in range(2)]
        await reading.wait()
        with pytest.raises(UnavailableError) as raised:
            await names_in(shared)
        await insert_at_commit(shared, "pear")
        enough.set()
        await asyncio.gather(*readers)

    assert raised.value.reason == "database_busy"
    assert await names_in(database) == ["apple", "pear"]


async def names_in_nothing(database: Database) -> None:
    async with database.snapshot() as connection:
        await connection.fetch("SELECT 1")


async def test_a_statement_that_takes_too_long_is_ended_on_the_server_too(url: str, database: Database) -> None:
    async def sleep(impatient: Database) -> None:
        async with impatient.transaction() as connection:
            await connection.fetch(LOCK, "apple")
            await connection.fetch("SELECT SLEEP(30)")

    async with opened(f"{url}?statement_timeout_seconds=0.3") as impatient:
        began = time.monotonic()
        with pytest.raises(UnavailableError) as raised:
            await sleep(impatient)
        assert time.monotonic() - began < 5
        async with asyncio.timeout(3):
            await insert_at_commit(impatient, "pear")

    assert raised.value.reason == "database_unreachable"
    assert await names_in(database) == ["apple", "pear"]


async def test_a_silent_transaction_loses_its_lock(url: str, database: Database) -> None:
    async def hold(silent: Database) -> None:
        async with silent.transaction() as connection:
            await connection.fetch(LOCK, "apple")
            await asyncio.sleep(2.5)
            await connection.execute(INSERT, "pear", 1)

    async with opened(f"{url}?idle_timeout_seconds=1") as silent:
        holder = asyncio.create_task(hold(silent))
        await asyncio.sleep(0.2)
        await insert_at_commit(database, "plum")
        assert not holder.done()
        with pytest.raises(UnavailableError) as raised:
            await holder
        names = await names_in(silent)

    assert raised.value.reason == "database_unreachable"
    assert names == ["apple", "plum"]


@pytest.mark.usefixtures("database")
async def test_sessions_that_the_server_ended_do_not_count_as_open(url: str) -> None:
    async with opened(f"{url}?idle_timeout_seconds=1") as silent:
        await names_in(silent)
        assert silent.usage()["read"].idle == 1

        await eventually(lambda: silent.usage()["read"].idle == 0)


async def test_a_cancelled_commit_is_all_or_nothing(proxy: CutConnection, database: Database) -> None:
    async with opened(proxy.url) as through:
        await nothing_in_a_transaction(through)
        for steps in range(12):
            task = asyncio.create_task(insert_at_commit(through, f"pear-{steps:02}"))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            committed = not task.cancelled()
            assert not committed or f"pear-{steps:02}" in await names_in(database)

        async def no_session_was_left_behind() -> bool:
            # One that writes is idle of each of the two.
            return await sessions_of(database) <= 2

        await eventually(no_session_was_left_behind)


async def test_no_server_there_is_unreachable(unused_tcp_port: int) -> None:
    async with opened(f"mysql://root@127.0.0.1:{unused_tcp_port}/nothing") as database:
        with pytest.raises(UnavailableError) as raised:
            await names_in(database)

    assert raised.value.reason == "database_unreachable"


async def test_a_database_that_does_not_exist_is_no_reason_to_try_again(url: str) -> None:
    async with opened(f"{url}_that_nobody_made") as database:
        with pytest.raises(Exception, match=r"(?i)unknown database") as raised:
            await names_in(database)

    assert not isinstance(raised.value, UnavailableError)


async def test_what_the_server_warns_of_is_logged(database: Database) -> None:
    with capture_logs() as logs:
        async with database.transaction() as connection:
            await connection.fetch("SELECT CAST(name AS BIGINT) FROM things")
            await connection.write_at_commit("UPDATE things SET amount = amount", [()])

    (warning,) = [entry for entry in logs if entry["event"] == "mysql_warning"]
    assert "apple" in warning["message"]


async def test_a_session_keeps_to_what_the_adapter_builds_on(database: Database) -> None:
    async with database.transaction() as connection:
        ((mode, zone),) = await connection.fetch("SELECT @@sql_mode, @@time_zone")
        concatenated = await connection.fetch("SELECT 'a' || \"name\" FROM things")

    assert "STRICT_ALL_TABLES" in mode
    assert zone == "+00:00"
    assert concatenated == [("aapple",)]


async def test_what_follows_a_definition_is_a_transaction_again(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute("CREATE TABLE more (name VARCHAR(64))")
            await connection.execute(INSERT, "pear", 1)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert await names_in(database) == ["apple"]


async def test_a_user_signs_in_with_a_password(url: str, database: Database) -> None:
    schema = urlsplit(url).path.removeprefix("/")
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {schema}@'%' IDENTIFIED BY 'p@ss/w:rd'")
        cursor.execute(f"GRANT ALL ON {schema}.* TO {schema}@'%'")
    known = url.replace("root@", f"{schema}:p%40ss%2Fw%3Ard@")

    async with opened(known) as through:
        names = await names_in(through)
    async with opened(known.replace("p%40ss", "wrong")) as through:
        with pytest.raises(Exception, match="Access denied") as raised:
            await names_in(through)

    assert names == ["apple"]
    assert not isinstance(raised.value, UnavailableError)


async def test_a_connection_is_encrypted_where_the_url_asks_for_it(mysql_url: str) -> None:
    async with opened(f"{mysql_url}?ssl_mode=required") as database, database.snapshot() as connection:
        ((_, cipher),) = await connection.fetch("SHOW STATUS LIKE 'Ssl_cipher'")

    assert cipher


async def test_a_certificate_of_nobody_known_is_refused(mysql_url: str) -> None:
    async with opened(f"{mysql_url}?ssl_mode=verify_ca") as database:
        with pytest.raises(UnavailableError) as raised:
            await names_in(database)

    assert raised.value.reason == "database_unreachable"


@pytest.mark.part("mariadb")
async def test_a_server_without_tls_is_refused_where_the_url_asks_for_it(
    private_server: Callable[..., Server],
) -> None:
    server_url = private_server("mariadb", ("--skip-ssl",)).start()
    async with opened(f"{server_url}mysql?ssl_mode=required") as database:
        with pytest.raises(UnsupportedServerError, match="TLS"):
            await names_in_nothing(database)
