"""A transaction, for hand-written statements and for Piccolo's queries at once.

BEGIN travels with the first statement, and what is only needed at the end with COMMIT: a transaction that reads a head,
writes and commits is two round trips.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

from services.runtime.errors import UnavailableError
from services.runtime.mysql.errors import ConnectionLostError, outcome_unknown, translated
from services.runtime.mysql.piccolo_statements import records, translate_piccolo
from services.runtime.mysql.pool import Loan, MysqlPool
from services.runtime.mysql.results import Result
from services.runtime.mysql.session import METADATA_LOCK_SECONDS, MysqlSession
from services.runtime.mysql.wire import OnResult, Response

# A server that only reads refuses here, before anything is decided on what it holds.
_BEGIN = (b"START TRANSACTION READ WRITE",)

_BEGIN_SNAPSHOT = (
    b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    b"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)

_COMMIT = b"COMMIT"

_BE_PATIENT = f"SET lock_wait_timeout = {METADATA_LOCK_SECONDS}".encode()

DEFINITION_LOCK_SECONDS = 5
"""How long a definition waits for those who use its table: whoever comes after it, as a service, waits behind it."""


class MysqlTransaction(PostgresTransaction):
    """Piccolo's transaction on a session of the pool.

    With a parent it is the parent: what Piccolo does with a transaction inside a transaction.
    """

    __slots__ = (
        "_begin",
        "_begun",
        "_borrowed",
        "_broken",
        "_loan",
        "_on_first_write",
        "_owner",
        "_pool",
        "_turn",
        "_waiting",
        "_waiting_bytes",
    )

    _parent: "MysqlTransaction | None"

    def __init__(
        self, engine: PostgresEngine, pool: MysqlPool, *, parent: "MysqlTransaction | None", reads_only: bool = False
    ) -> None:
        """Prepare a transaction; entering it takes a session."""
        self.engine = engine
        self._parent = parent
        self._savepoint_id = 0
        self._committed = False
        self._rolled_back = False
        self._pool = pool
        self._begin = _BEGIN_SNAPSHOT if reads_only else _BEGIN
        self._begun = False
        self._broken = False
        self._borrowed = AsyncExitStack()
        self._loan: Loan | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._on_first_write: Callable[[], None] | None = None
        self._turn = asyncio.Lock()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    @property
    def is_current(self) -> bool:
        """Tell whether it is under way in the current task."""
        return self._loan is not None and self._owner is asyncio.current_task()

    @property
    def connection(self) -> Self:
        """What Piccolo calls the connection: whatever runs statements."""
        return self

    @property
    def session(self) -> MysqlSession:
        """The session, for what it learned when it connected.

        Raises:
            RuntimeError: The transaction has ended.
        """
        return self._usable_loan().session

    async def __aenter__(self) -> "MysqlTransaction":  # noqa: PYI034 - the parent is of this very class
        if self._parent is not None:
            return self._parent
        self._loan = await self._borrowed.enter_async_context(self._pool.lend())
        self._owner = asyncio.current_task()
        self.engine.current_transaction.set(self)
        return self

    async def run(self, statements: Sequence[bytes], *, patient: bool = False) -> list[Result]:
        """Run statements in one round trip, after those that wait, and return their results."""
        async with self._turn:
            loan = self._usable_loan()
            waiting = await self._fitting_with(statements, loan)
            if not patient:
                return await self._checked(loan, waiting, statements)
            return await self._defined(loan, waiting, statements)

    async def _defined(self, loan: Loan, waiting: Sequence[bytes], statements: Sequence[bytes]) -> list[Result]:
        """Run a definition, which commits; what follows is a transaction again, not one statement after the other."""
        hurry = f"SET lock_wait_timeout = {DEFINITION_LOCK_SECONDS}".encode()
        try:
            _, *results, _ = await self._checked(loan, waiting, [hurry, *statements, _BE_PATIENT], patient=True)
        except BaseException:
            # The session is in a hurry still.
            loan.session.abort()
            raise
        self._begun = False
        return results

    async def _checked(
        self, loan: Loan, waiting: Sequence[bytes], statements: Sequence[bytes], *, patient: bool = False
    ) -> list[Result]:
        opening = () if self._begun else self._begin
        response = await self._send(loan, [*opening, *waiting, *statements], patient=patient)
        if response.error is not None:
            # What waited was accepted before; who asks something else now can't know what of it failed.
            in_waiting = len(response.results) < len(opening) + len(waiting)
            self._broken = in_waiting or response.error.breaks_transaction
            if self._begin is _BEGIN_SNAPSHOT and response.error.is_write_while_reading:
                raise response.error.error from response.error
            loan.leave(response.error)
            raise translated(response.error) from response.error
        if waiting and self._on_first_write is not None:
            self._on_first_write()
        return response.results[len(opening) + len(waiting) :]

    async def _send(self, loan: Loan, packet: Sequence[bytes], *, patient: bool) -> Response:
        """Send what doesn't commit. A session that died while it was idle is replaced, since nothing can be lost."""
        try:
            try:
                response = await loan.session.run(packet, patient=patient)
            except ConnectionLostError as error:
                # A definition may have been committed by itself.
                if self._begun or patient or not loan.may_have_died_idle(error):
                    raise
                await loan.renew()
                response = await loan.session.run(packet, patient=patient)
        except ConnectionLostError as error:
            self._broken = True
            loan.kill_if_late(error)
            raise translated(error) from error
        except BaseException:
            # Interrupted: the connection is closed, and the server is told, so that it holds no lock any longer.
            self._broken = True
            loan.kill()
            raise
        self._begun = True
        return response

    async def run_all(self, statements: Iterable[bytes]) -> None:
        """Run statements in as few packets as the server takes."""
        bytes_max = self.session.greeting.packet_bytes_max
        packet: list[bytes] = []
        packet_bytes = 0
        for statement in statements:
            if packet and packet_bytes + len(statement) > bytes_max:
                await self.run(packet)
                packet, packet_bytes = [], 0
            packet.append(statement)
            packet_bytes += len(statement) + 1
        if packet:
            await self.run(packet)

    def tell_first_write(self, on_first_write: Callable[[], None]) -> None:
        """Have it called when the server has done the first of the writes that wait for COMMIT."""
        self._on_first_write = on_first_write

    async def add_to_commit(self, statements: Iterable[bytes]) -> None:
        """Keep statements until COMMIT, or until anything else is run; send them early when they get large."""
        bytes_max = self.session.greeting.packet_bytes_max
        for statement in statements:
            if self._waiting and self._waiting_bytes + len(statement) > bytes_max:
                await self.run(())
            self._waiting.append(statement)
            self._waiting_bytes += len(statement) + 1

    async def _fitting_with(self, statements: Sequence[bytes], loan: Loan) -> list[bytes]:
        """Return what waits; when the packet would get too large with it, send it first."""
        together = self._waiting_bytes + sum(map(len, statements)) + len(statements)
        if not self._waiting or together <= loan.session.greeting.packet_bytes_max:
            return self._taken_from_waiting()
        await self._checked(loan, self._taken_from_waiting(), ())
        return []

    def _taken_from_waiting(self) -> list[bytes]:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting

    async def fetch(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        """Run a query of Piccolo's."""
        statement = translate_piccolo(sql, self.session.greeting.server)
        (result,) = await self.run([statement.template.render(arguments).encode("latin-1")])
        return records(statement, arguments, result, self.session)

    execute = fetch
    """What Piccolo's savepoints call."""

    def _usable_loan(self) -> Loan:
        if self._loan is None or self._committed:
            raise RuntimeError("the transaction has ended; its connection can't be used any more")
        if self._broken or self._rolled_back:
            # After some errors the server has rolled all of it back: what ran now would be committed alone.
            raise UnavailableError("the transaction was rolled back", reason="transaction_rolled_back")
        return self._loan

    async def commit(self) -> None:
        """Send what waits, and make everything durable; nothing can follow in this transaction."""
        loan = self._usable_loan()
        opening = () if self._begun else self._begin
        waiting = self._taken_from_waiting()
        if not self._begun and not waiting:
            self._committed = True
            return
        on_first_write = self._on_first_write if waiting else None
        first_write = len(opening) + 1

        def note(results: int) -> None:
            if results == first_write and on_first_write is not None:
                on_first_write()

        # Cancelled or not, what was sent is awaited: a COMMIT can't be taken back.
        await _finished(self._commit(loan, [*opening, *waiting, _COMMIT], note))
        self._committed = True

    async def _commit(self, loan: Loan, packet: Sequence[bytes], on_result: OnResult) -> None:
        self._begun = True
        try:
            response = await loan.session.run(packet, on_result=on_result)
        except ConnectionLostError as error:
            self._broken = True
            loan.kill_if_late(error)
            raise outcome_unknown(error) from error
        if response.error is None:
            return
        self._broken = response.error.breaks_transaction
        loan.leave(response.error)
        at_commit = len(response.results) == len(packet) - 1
        if at_commit and response.error.ends_connection:
            raise outcome_unknown(response.error) from response.error
        raise translated(response.error) from response.error

    async def rollback(self) -> None:
        """Undo everything; nothing can follow in this transaction."""
        self._waiting.clear()
        self._rolled_back = True
        if self._loan is None or not self._begun or not self._loan.session.usable:
            return
        await _finished(self._roll_back(self._loan.session))

    async def _roll_back(self, session: MysqlSession) -> None:
        """Roll back, or close the connection, which does so too."""
        try:
            response = await session.run([b"ROLLBACK"])
        except ConnectionLostError:
            return
        if response.error is not None:
            session.abort()

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._parent is not None:
            return False
        try:
            if exception is None and not self._committed and not self._rolled_back:
                await self.commit()
        finally:
            try:
                if not self._committed:
                    await self.rollback()
            finally:
                # Whatever happened, the session goes back without a transaction on it.
                self._loan = None
                self.engine.current_transaction.set(None)
                await self._borrowed.aclose()
        return False


async def _finished(job: Coroutine[Any, Any, None]) -> None:
    """Run a job to its end, even when the caller is cancelled meanwhile; then the caller learns of that only."""
    task = asyncio.ensure_future(job)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue
        if not task.cancelled():
            task.exception()
        raise
