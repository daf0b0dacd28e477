"""What the MySQL adapter does when the server changes under it: certificates, restarts, failovers, readers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.mysql.engine import MysqlEngine
from tests.parts.plugin import run_of
from tests.parts.server import Server
from tests.parts.sql_servers import administrator, fresh_schema, sql_flags
from tests.support.certificates import Authority
from tests.support.cut_connection import CutConnection
from tests.support.waiting import eventually

INSERT = "INSERT INTO things (name) VALUES ($1)"

ENGINES = [pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=ENGINES, scope="module")
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Server]:
    """Run a server of these tests' own, with a certificate for 127.0.0.1."""
    certificate, key = authority.issue("server")
    tls = (f"--ssl-ca={authority.ca_file}", f"--ssl-cert={certificate}", f"--ssl-key={key}")
    for file in (authority.ca_file, certificate, key):
        # The server may run as another user.
        file.chmod(0o644)
    server = run_of(request.config).private(request.param, (*sql_flags(durable=False), *tls))
    server.start()
    yield server
    server.wipe()


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """Name a schema with a table, and a user who administers nothing."""
    with fresh_schema(server.url) as url:
        prepare(url, user="app")
        yield as_user(url, "app")


def prepare(url: str, *, user: str) -> None:
    schema = urlsplit(url).path.removeprefix("/")
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS things (name VARCHAR(64) NOT NULL PRIMARY KEY)")
        cursor.execute(f"CREATE USER IF NOT EXISTS {user}@'%'")
        cursor.execute(f"GRANT SELECT, INSERT ON {schema}.* TO {user}@'%'")


def as_user(url: str, user: str) -> str:
    return url.replace("root@", f"{user}@")


def set_globally(server: Server, assignment: str) -> None:
    with closing(administrator(server.url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET GLOBAL {assignment}")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        await database.close()


async def insert(database: Database, name: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, name)


async def names_in(database: Database) -> list[str]:
    async with database.snapshot() as connection:
        return [row[0] for row in await connection.fetch("SELECT name FROM things ORDER BY name")]


async def reason_of_refusal(url: str) -> str:
    async with opened(url) as database:
        with pytest.raises(UnavailableError) as raised:
            await names_in(database)
    return raised.value.reason


async def test_a_certificate_is_verified_as_far_as_the_url_says(url: str, authority: Authority) -> None:
    by_name = url.replace("127.0.0.1", "localhost")
    for good in (
        f"{url}?ssl_mode=required",
        f"{url}?ssl_ca={authority.ca_file}",
        f"{url}?ssl_mode=verify_identity&ssl_ca={authority.ca_file}",
        f"{by_name}?ssl_mode=verify_ca&ssl_ca={authority.ca_file}",
        f"{by_name}?ssl_mode=required",
    ):
        async with opened(good) as database, database.snapshot() as connection:
            ((_, cipher),) = await connection.fetch("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cipher, good

    # The certificate names the address, and not this name.
    assert await reason_of_refusal(f"{by_name}?ssl_ca={authority.ca_file}") == "database_unreachable"


async def test_a_certificate_of_another_authority_is_refused(
    url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other"), "other")

    for mode in ("verify_ca", "verify_identity"):
        assert await reason_of_refusal(f"{url}?ssl_mode={mode}&ssl_ca={other.ca_file}") == "database_unreachable"


@pytest.mark.timeout(120)
async def test_a_server_that_was_started_again_is_written_to_without_a_word(server: Server, url: str) -> None:
    async with opened(url) as database:
        await insert(database, "before")
        await names_in(database)
        server.restart()
        await insert(database, "after")
        names = await names_in(database)

    assert names == ["after", "before"]


@pytest.mark.timeout(120)
async def test_a_transaction_that_a_restart_interrupts_did_not_happen(server: Server, url: str) -> None:
    async def write(database: Database) -> None:
        async with database.transaction() as connection:
            await connection.execute(INSERT, "lost")
            server.restart()
            await connection.execute(INSERT, "lost too")

    async with opened(url) as database:
        with pytest.raises(UnavailableError) as raised:
            await write(database)
        names = await names_in(database)

    assert raised.value.reason == "database_unreachable"
    assert names == []


@pytest.fixture
def demoted(server: Server, url: str) -> Iterator[str]:
    """Let the server only read, as a primary that was replaced does."""
    set_globally(server, "read_only = ON")
    yield url
    set_globally(server, "read_only = OFF")


async def test_a_server_that_only_reads_is_unavailable_to_who_writes(server: Server, demoted: str) -> None:
    async with opened(demoted) as database:
        with pytest.raises(UnavailableError) as raised:
            await insert(database, "pear")
        read_meanwhile = await names_in(database)
        set_globally(server, "read_only = OFF")
        await insert(database, "plum")
        names = await names_in(database)

    assert raised.value.reason == "database_unreachable"
    assert read_meanwhile == []
    assert names == ["plum"]


@asynccontextmanager
async def replaced(
    server: Server, url: str, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[CutConnection, str]]:
    """Have another primary with the same schema; yield a name that leads to the old one, and the new one's URL."""
    schema, user = urlsplit(url).path.removeprefix("/"), f"app_{uuid4().hex[:8]}"
    kind = "mariadb" if "mariadb" in server.log_file.read_text().lower() else "mysql"
    primary: Server = request.getfixturevalue(f"{kind}_server")
    set_globally(server, "read_only = OFF")
    prepare(f"{server.url}{schema}", user=user)
    with closing(administrator(primary.url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {schema}")
    prepare(f"{primary.url}{schema}", user=user)
    async with CutConnection(as_user(f"{server.url}{schema}", user)) as proxy:
        yield proxy, as_user(f"{primary.url}{schema}", user)
    with closing(administrator(primary.url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {schema}")


async def test_after_a_failover_the_same_name_leads_to_the_new_primary(
    server: Server, demoted: str, request: pytest.FixtureRequest
) -> None:
    """Connections that are open still lead to the old one: all are left at the first refusal."""
    async with (
        replaced(server, demoted, request) as (proxy, new_url),
        opened(proxy.url) as database,
        opened(new_url) as new,
    ):
        await insert(database, "before")
        before = await names_in(database)
        read = asyncio.Event()
        reading = asyncio.create_task(read_until(read, database))
        await eventually(lambda: database.usage()["read"].lent == 1)
        set_globally(server, "read_only = ON")
        proxy.point_at(new_url)
        with pytest.raises(UnavailableError):
            await insert(database, "refused")
        await insert(database, "after")
        read.set()
        await reading
        names = [await names_in(new), await names_in(database)]

    assert before == ["before"]
    assert names == [["after"], ["after"]]


async def read_until(event: asyncio.Event, database: Database) -> None:
    async with database.snapshot() as connection:
        await connection.fetch("SELECT name FROM things")
        await event.wait()


async def test_who_only_reads_finds_the_new_primary_too(
    server: Server, demoted: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.mysql.database.READING_SECONDS_MAX", 1.0)
    async with (
        replaced(server, demoted, request) as (proxy, new_url),
        opened(proxy.url) as database,
        opened(new_url) as new,
    ):
        await names_in(database)
        proxy.point_at(new_url)
        await insert(new, "after")

        async def the_new_one_is_read() -> bool:
            return await names_in(database) == ["after"]

        await eventually(the_new_one_is_read)


async def test_a_server_whose_transactions_only_read_is_unavailable_to_a_single_write(server: Server, url: str) -> None:
    """Error 1792. A transaction says that it writes, and may."""
    async with opened(url) as first:
        await names_in(first)
        variable = "tx_read_only" if "mariadb" in server.log_file.read_text().lower() else "transaction_read_only"
        set_globally(server, f"{variable} = ON")
        try:
            async with opened(url) as database:
                engine = database.engine
                assert isinstance(engine, MysqlEngine)
                with pytest.raises(UnavailableError) as raised:
                    await engine._run_in_new_connection("INSERT INTO things (name) VALUES ($1)", ["pear"])
                await insert(database, "plum")
                names = await names_in(database)
        finally:
            set_globally(server, f"{variable} = OFF")

    assert raised.value.reason == "database_unreachable"
    assert names == ["plum"]


@pytest.mark.part("mysql")
@pytest.mark.timeout(120)
async def test_a_server_in_offline_mode_is_away_and_used_again_when_it_is_back(
    private_server: Callable[..., Server],
) -> None:
    """As a member does that its group expelled: it lets in who administers it, and nobody else."""
    server = private_server("mysql", sql_flags(durable=False))
    with fresh_schema(server.start()) as url:
        prepare(url, user="app")
        async with opened(as_user(url, "app")) as database:
            await insert(database, "before")
            set_globally(server, "offline_mode = ON")
            reasons = []
            for _ in range(3):
                with pytest.raises(UnavailableError) as raised:
                    await insert(database, "refused")
                reasons.append(raised.value.reason)
            set_globally(server, "offline_mode = OFF")
            await insert(database, "after")
            names = await names_in(database)

    assert set(reasons) == {"database_unreachable"}
    assert names == ["after", "before"]
