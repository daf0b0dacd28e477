"""A Piccolo engine on the pool.

Piccolo believes that it speaks to PostgreSQL, and its statements are translated like any others; see dialect.py. A
query joins the transaction that it is awaited in, in the task that began it only: a context variable is copied into
every task that is started meanwhile, and those tasks outlive the transaction.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

from piccolo.engine.postgres import PostgresEngine
from piccolo.query.base import Query

from services.runtime.database.port import AlreadyInPlaceError
from services.runtime.mysql.errors import ConnectionLostError, outcome_unknown, translated
from services.runtime.mysql.piccolo_statements import records, translate_piccolo
from services.runtime.mysql.pool import Loan, MysqlPool
from services.runtime.mysql.results import Result
from services.runtime.mysql.statement import Statement
from services.runtime.mysql.transaction import MysqlTransaction

_POSTGRES_VERSION = 14.0
"""The PostgreSQL that Piccolo is told it speaks to; the real server's version is looked at when a session connects."""


class MysqlEngine(PostgresEngine):
    """What `Table._meta.db` of a service is."""

    def __init__(self, pool: MysqlPool, readers: MysqlPool) -> None:
        """Stand on two pools, the second one for what only reads; nothing is connected yet."""
        self._sessions = pool
        self._readers = readers
        super().__init__(config={"database": pool.options.database})

    async def get_version(self) -> float:
        """Tell what Piccolo asks before it writes statements."""
        return _POSTGRES_VERSION

    def get_version_sync(self) -> float:
        """Tell the same, at once."""
        return _POSTGRES_VERSION

    async def prep_database(self) -> None:
        """Install nothing: MySQL has no extensions."""

    def current(self) -> MysqlTransaction | None:
        """Return the transaction that the current task is in."""
        transaction = self.current_transaction.get()
        if isinstance(transaction, MysqlTransaction) and transaction.is_current:
            return transaction
        if transaction is not None:
            # Inherited from the task that started this one. What is set here stays in this task's own context.
            self.current_transaction.set(None)
        return None

    def transaction_exists(self) -> bool:
        """Tell whether the current task is in a transaction."""
        return self.current() is not None

    def transaction(self, allow_nested: bool = True) -> MysqlTransaction:  # noqa: FBT001, FBT002 - Piccolo's signature
        """Begin a transaction that writes, or join the one that the task is in."""
        return MysqlTransaction(self, self._sessions, parent=self._parent(allow_nested=allow_nested))

    def snapshot(self) -> MysqlTransaction:
        """Begin a transaction that only reads."""
        return MysqlTransaction(self, self._readers, parent=self._parent(allow_nested=False), reads_only=True)

    def _parent(self, *, allow_nested: bool) -> MysqlTransaction | None:
        parent = self.current()
        if parent is not None and not allow_nested:
            raise RuntimeError("a transaction inside a transaction: pass the outer one's connection on instead")
        return parent

    async def batch(self, query: Query[Any, Any], batch_size: int = 100, node: str | None = None) -> NoReturn:
        """Refuse: a result is read whole here."""
        raise NotImplementedError("batch() isn't supported on MySQL; page by a key instead")

    async def run_querystring(self, querystring: Any, in_pool: bool = True) -> Any:  # noqa: FBT001, FBT002 - Piccolo's signature
        """Run a query in the current transaction, or by itself."""
        self.current()
        return await super().run_querystring(querystring, in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> Any:  # noqa: FBT001, FBT002 - Piccolo's signature
        """Run a definition in the current transaction, or by itself."""
        self.current()
        try:
            return await super().run_ddl(ddl, in_pool)
        except AlreadyInPlaceError:
            # What MySQL's own CREATE INDEX can't be asked.
            if "IF NOT EXISTS" in ddl:
                return []
            raise

    async def _run_in_new_connection(self, query: str, args: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        arguments = args or ()
        pool = self._readers if query.lstrip()[:6].upper() == "SELECT" else self._sessions
        async with pool.lend() as loan:
            statement = translate_piccolo(query, loan.session.greeting.server)
            result = await _run_alone(loan, statement, arguments)
            return records(statement, arguments, result, loan.session)


async def _run_alone(loan: Loan, statement: Statement, arguments: Sequence[Any]) -> Result:
    """Run a statement that commits by itself."""
    packet = [statement.template.render(arguments).encode("latin-1")]
    try:
        try:
            response = await loan.session.run(packet)
        except ConnectionLostError as error:
            if not statement.reads or not loan.may_have_died_idle(error):
                raise
            await loan.renew()
            response = await loan.session.run(packet)
    except ConnectionLostError as error:
        loan.kill_if_late(error)
        raise (translated(error) if statement.reads else outcome_unknown(error)) from error
    except BaseException:
        loan.kill()
        raise
    if response.error is not None:
        loan.leave(response.error)
        raise translated(response.error) from response.error
    return response.results[0]
