"""A database that counts what is done to it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from piccolo.engine.base import Engine

from services.runtime.database.port import Connection, Database, PoolUsage, PreparedWrite


class CountingDatabase:
    """Counts the transactions that write, and those that only read."""

    def __init__(self, database: Database) -> None:
        self.engine: Engine[Any] = database.engine
        self.definitions_commit = database.definitions_commit
        self.transactions = 0
        self.snapshots = 0
        self._database = database

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        self.transactions += 1
        return self._database.transaction()

    def snapshot(self) -> AbstractAsyncContextManager[Connection]:
        self.snapshots += 1
        return self._database.snapshot()

    def prepare(self, sql: str, rows: Sequence[Sequence[object]]) -> PreparedWrite:
        return self._database.prepare(sql, rows)

    def usage(self) -> Mapping[str, PoolUsage]:
        return self._database.usage()

    async def close(self) -> None:
        await self._database.close()
