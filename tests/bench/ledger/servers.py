"""The durable MySQL that everything is measured on."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiomysql
import psutil

MEMORY_FOLDER = next((folder for folder in ("/dev/shm",) if Path(folder).is_dir()), None)  # noqa: S108 - in memory
"""Where files cost no disk, if there is such a place."""

DURABLE = {"innodb_flush_log_at_trx_commit": 1, "sync_binlog": 1, "log_bin": 1}
"""What the server must say of itself: a commit that was answered is on the disk, binary log included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that listens on this machine; user root."""

    host: str
    port: int
    password: str = ""

    @classmethod
    def of_url(cls, url: str) -> "Server":
        """Take the place out of a URL of tests/parts."""
        parts = urlsplit(url)
        return cls(host=parts.hostname or "127.0.0.1", port=parts.port or 3306, password=parts.password or "")

    @property
    def pid(self) -> int:
        """Find the process that listens on the port."""
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.pid is None:
                continue
            if connection.laddr.port == self.port:
                return int(connection.pid)
        raise LookupError(f"no process of this machine listens on port {self.port}")

    def url(self, schema: str) -> str:
        """Name a schema for the ledger."""
        return f"mysql://root:{self.password}@{self.host}:{self.port}/{schema}"

    @asynccontextmanager
    async def cursor(self, schema: str | None = None) -> AsyncIterator[aiomysql.Cursor]:
        """Open a connection of one's own, committing each statement unless it begins a transaction."""
        connection = await aiomysql.connect(
            host=self.host, port=self.port, user="root", password=self.password, db=schema, autocommit=True,
            local_infile=True, charset="utf8mb4",
        )  # fmt: skip
        try:
            async with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    async def make_schema(self, schema: str, tables: Sequence[str] = ()) -> None:
        """Make a schema anew."""
        async with self.cursor() as cursor:
            await cursor.execute(f"DROP DATABASE IF EXISTS {schema}")
            await cursor.execute(f"CREATE DATABASE {schema}")
            await cursor.execute(f"USE {schema}")
            for table in tables:
                await cursor.execute(table)

    async def version(self) -> str:
        """Tell the server's version, after making sure that it is durable.

        Raises:
            RuntimeError: It isn't: its figures would mean nothing.
        """
        async with self.cursor() as cursor:
            for name, wanted in DURABLE.items():
                await cursor.execute(f"SELECT @@{name}")
                ((found,),) = await cursor.fetchall()
                if found != wanted:
                    raise RuntimeError(f"the server isn't durable: {name} is {found}, and must be {wanted}")
            await cursor.execute("SELECT VERSION(), @@innodb_buffer_pool_size")
            ((version, pool_bytes),) = await cursor.fetchall()
        return f"MySQL {version}, buffer pool {pool_bytes >> 20} MiB"
