"""What MySQL and MariaDB have in common: their flags, their address, and schemas made and dropped for tests."""

import getpass
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pymysql

from tests.parts.part import Place

ASK_SECONDS_MAX = 3
"""A server that accepts and doesn't answer is asked again after this."""

SCHEMA_SECONDS_MAX = 20
"""A busy machine makes or drops a schema within this; a test that left a transaction open would block it for ever."""


def sql_flags(*, durable: bool = True, buffer_pool_mib: int = 128) -> tuple[str, ...]:
    """Return a server's flags: durable commits survive the machine's loss of power, others are several times faster."""
    flags = [f"--innodb-buffer-pool-size={buffer_pool_mib}M", "--max-connections=300"]
    if durable:
        flags += ["--innodb-flush-log-at-trx-commit=1", "--log-bin=binlog", "--sync-binlog=1"]
    else:
        flags += ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]
    return tuple(flags)


def common_words(place: Place, root: Path) -> list[str]:
    """Return the words that both servers are started with; the socket's path is short, being relative to the data.

    What a killed server left of its socket goes: it names a process, and another one may have its number by now.
    Temporary tables have a folder of their own: a server that starts removes those that it finds, also another's.
    """
    temporary = place.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    (place.data / "server.sock.lock").unlink(missing_ok=True)
    return [
        "--no-defaults",
        f"--user={getpass.getuser()}",
        f"--datadir={place.data}",
        f"--tmpdir={temporary}",
        f"--bind-address={place.host}",
        f"--port={place.port}",
        "--socket=server.sock",
        "--pid-file=server.pid",
        *shared_words(root),
    ]


def shared_words(root: Path) -> list[str]:
    """Return the words that say where the unpacked packages keep their files."""
    return [
        f"--basedir={root}/usr",
        f"--lc-messages-dir={root}/usr/share/mysql",
        f"--character-sets-dir={root}/usr/share/mysql/charsets",
        f"--plugin-dir={root}/usr/lib/mysql/plugin",
    ]


def copy_folder(source: Path, target: Path) -> None:
    """Copy a prepared data folder; its holes stay holes, and file systems that can share blocks do."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    subprocess.run(
        ["cp", "--archive", "--reflink=auto", "--sparse=always", str(source), str(unfinished)], check=True, timeout=60
    )
    unfinished.rename(target)


def url_of(host: str, port: int) -> str:
    """Name the server; a schema's name follows."""
    return f"mysql://root@{host}:{port}/"


def ask_version(url: str) -> str:
    """Return what the server calls itself.

    Raises:
        OSError: Nothing answers yet.
    """
    try:
        with closing(administrator(url, seconds_max=ASK_SECONDS_MAX)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            row = cursor.fetchone()
    except pymysql.MySQLError as error:
        raise OSError(f"{url} doesn't answer: {error}") from error
    return str(row[0]) if row else ""


def administrator(url: str, *, seconds_max: int = SCHEMA_SECONDS_MAX) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    """Connect as root, outside of what is tested."""
    address = urlsplit(url)
    return pymysql.connect(
        host=address.hostname or "",
        port=address.port or 0,
        user=address.username or "",
        database=address.path.removeprefix("/") or None,
        autocommit=True,
        connect_timeout=seconds_max,
        read_timeout=seconds_max,
        write_timeout=seconds_max,
    )


@contextmanager
def fresh_schema(server_url: str) -> Iterator[str]:
    """Make a schema and give its URL; drop it afterwards, which fails if the test left a transaction open in there."""
    name = f"test_{uuid4().hex[:16]}"
    with closing(administrator(server_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    yield f"{server_url}{name}"
    with closing(administrator(server_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET lock_wait_timeout = {SCHEMA_SECONDS_MAX // 2}")
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
