"""What each kind of server does, whichever provider it comes from."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.parts.opening import open_server
from tests.parts.server import Server, ServerFailedError
from tests.parts.sql_servers import administrator, ask_version, fresh_schema, sql_flags

PARTS = [pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")]

MakeServer = Callable[..., Server]


@pytest.fixture(params=PARTS)
def part(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(part: str, private_server: MakeServer) -> Iterator[Server]:
    server = private_server(part)
    server.start()
    yield server
    server.kill()


def ask(url: str, *statements: str) -> list[tuple[Any, ...]]:
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def test_it_answers_where_it_says(server: Server, part: str) -> None:
    version = ask_version(server.url)

    assert version.startswith({"mysql": "9.", "mariadb": "10.11."}[part])
    assert server.is_running()


def test_what_was_committed_survives_a_kill_at_the_same_address(server: Server) -> None:
    before = server.url
    ask(before, "CREATE DATABASE d", "CREATE TABLE d.t (n INT)", "INSERT INTO d.t VALUES (7)")

    server.kill()
    with pytest.raises(OSError, match="doesn't answer"):
        ask_version(before)

    assert server.start() == before
    assert ask(before, "SELECT n FROM d.t") == [(7,)]


def test_a_restart_keeps_the_data(server: Server) -> None:
    ask(server.url, "CREATE DATABASE d")

    server.restart()

    assert ask(server.url, "SHOW DATABASES LIKE 'd'") == [("d",)]


def test_a_paused_server_hangs_until_it_is_resumed(server: Server) -> None:
    server.pause()
    with pytest.raises(OSError, match="doesn't answer"):
        ask_version(server.url)

    server.resume()

    assert ask_version(server.url)


def test_a_paused_server_can_be_stopped(server: Server) -> None:
    server.pause()

    server.stop()

    assert not server.is_running()


def test_a_wiped_server_forgets_its_data_and_keeps_its_log(server: Server) -> None:
    ask(server.url, "CREATE DATABASE d")

    server.wipe()
    server.start()

    assert ask(server.url, "SHOW DATABASES LIKE 'd'") == []
    assert server.log_file.stat().st_size > 0


def test_two_servers_of_a_kind_share_nothing(server: Server, part: str, private_server: MakeServer) -> None:
    other = private_server(part)
    ask(other.start(), "CREATE DATABASE d")

    assert ask(server.url, "SHOW DATABASES LIKE 'd'") == []
    identity = {"mysql": "SELECT @@server_uuid", "mariadb": "SELECT @@server_uid"}[part]
    for own in (identity, "SELECT @@tmpdir"):
        assert ask(server.url, own) != ask(other.url, own)


def test_whoever_opens_the_folder_commands_the_same_server(server: Server, part: str) -> None:
    found = open_server(part, server.log_file.parent)

    assert found.is_running()
    found.kill()

    assert not server.is_running()


@pytest.mark.parametrize("durable", [True, False])
def test_its_commits_are_as_durable_as_asked_for(part: str, private_server: MakeServer, *, durable: bool) -> None:
    url = private_server(part, sql_flags(durable=durable, buffer_pool_mib=64)).start()

    ((at_commit, binlog, sync_binlog, pool),) = ask(
        url, "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog, @@innodb_buffer_pool_size"
    )

    assert pool == 64 * 2**20
    assert (at_commit, binlog, sync_binlog == 1) == ((1, 1, True) if durable else (0, 0, sync_binlog == 1))


def test_a_server_that_does_not_start_names_its_log_and_shows_why(part: str, private_server: MakeServer) -> None:
    server = private_server(part, ("--no-such-flag",))

    with pytest.raises(ServerFailedError, match="no-such-flag") as failure:
        server.start()

    assert str(server.log_file) in str(failure.value)
    assert not server.is_running()


def test_a_fresh_schema_is_empty_and_gone_afterwards(server: Server) -> None:
    with fresh_schema(server.url) as url:
        ask(url, "CREATE TABLE t (n INT)")
        with fresh_schema(server.url) as other:
            assert ask(other, "SHOW TABLES") == []

    assert ask(server.url, "SHOW DATABASES LIKE 'test%'") == []
