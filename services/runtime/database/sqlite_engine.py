"""Piccolo's SQLite engine on connections that stay open.

Piccolo's own opens a thread and a connection for every query outside a transaction. This one uses the pool, and joins
the transaction that the query is awaited in, in the task that began it only: a context variable is copied into every
task that is started meanwhile, and those tasks outlive the transaction.
"""

from pathlib import Path
from typing import Any

from piccolo.engine.sqlite import SQLiteEngine, TransactionType
from piccolo.querystring import QueryString
from piccolo.table import Table

from services.runtime.database import dialect
from services.runtime.database.sqlite_pool import SqlitePool
from services.runtime.database.sqlite_session import Result
from services.runtime.database.sqlite_transaction import SqliteTransaction


class PooledSqliteEngine(SQLiteEngine):
    """What `Table._meta.db` of an embedded service is.

    `batch()` is Piccolo's own and uses a connection of its own.
    """

    __slots__ = ("pool",)

    def __init__(self, path: Path, pool: SqlitePool) -> None:
        """Stand on a pool."""
        super().__init__(path=str(path), timeout=pool.busy_timeout_seconds)
        self.pool = pool

    def current(self) -> SqliteTransaction | None:
        """Return the transaction that the current task is in."""
        transaction = self.current_transaction.get()
        if isinstance(transaction, SqliteTransaction) and transaction.is_current:
            return transaction
        if transaction is not None:
            # Inherited from the task that started this one. What is set here stays in this task's own context.
            self.current_transaction.set(None)
        return None

    def transaction_exists(self) -> bool:
        """Tell whether the current task is in a transaction."""
        return self.current() is not None

    def transaction(
        self,
        transaction_type: TransactionType = TransactionType.immediate,  # noqa: ARG002 - Piccolo's signature
        allow_nested: bool = True,  # noqa: FBT001, FBT002 - Piccolo's signature
    ) -> SqliteTransaction:
        """Begin a transaction that writes, or join the one that the task is in; of any type, since there is one."""
        return SqliteTransaction(self, self.pool, parent=self._parent(allow_nested=allow_nested))

    def snapshot(self) -> SqliteTransaction:
        """Begin a transaction that only reads."""
        return SqliteTransaction(self, self.pool, parent=self._parent(allow_nested=False), reads_only=True)

    def _parent(self, *, allow_nested: bool) -> SqliteTransaction | None:
        parent = self.current()
        if parent is not None and not allow_nested:
            raise RuntimeError("a transaction inside a transaction: pass the outer one's connection on instead")
        return parent

    async def run_querystring(self, querystring: QueryString, in_pool: bool = False) -> Any:  # noqa: FBT001, FBT002 - Piccolo's signature
        """Run a query in the current transaction, or in one of its own."""
        self.current()
        return await super().run_querystring(querystring, in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = False) -> Any:  # noqa: FBT001, FBT002 - Piccolo's signature
        """Run a statement in the current transaction, or in one of its own."""
        self.current()
        return await super().run_ddl(ddl, in_pool)

    async def _run_in_new_connection(
        self,
        query: str,
        args: list[Any] | None = None,
        query_type: str = "generic",  # noqa: ARG002 - Piccolo's signature
        table: type[Table] | None = None,  # noqa: ARG002 - Piccolo's signature
    ) -> list[dict[str, Any]]:
        if dialect.reads_only(query):
            async with self.pool.reading() as session:
                return _records(await session.run(query, args or ()))
        async with SqliteTransaction(self, self.pool, parent=None) as transaction:
            result = await transaction.run(query, args or ())
        return _records(result)

    async def _run_in_existing_connection(
        self,
        connection: SqliteTransaction,
        query: str,
        args: list[Any] | None = None,
        query_type: str = "generic",  # noqa: ARG002 - Piccolo's signature
        table: type[Table] | None = None,  # noqa: ARG002 - Piccolo's signature
    ) -> list[dict[str, Any]]:
        return _records(await connection.run(query, args or ()))


def _records(result: Result) -> list[dict[str, Any]]:
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]
