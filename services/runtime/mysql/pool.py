"""The open connections to one server: bounded, checked before they are lent, and never lent half read."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from services.runtime.database.port import PoolUsage
from services.runtime.errors import UnavailableError
from services.runtime.mysql.errors import ConnectionLostError, DeadlineError, ServerError, translated
from services.runtime.mysql.options import MysqlOptions
from services.runtime.mysql.server import Server
from services.runtime.mysql.session import MysqlSession, closed_error

logger = structlog.get_logger(__name__)

_UNKNOWN_THREAD = 1094
"""The connection to be killed has ended by itself."""


class MysqlPool:
    """Sessions; the one given back last is lent first, so that those that aren't needed fall idle."""

    def __init__(
        self, options: MysqlOptions, *, session_seconds_max: float = math.inf, beside: "MysqlPool | None" = None
    ) -> None:
        """Prepare a pool; sessions are opened when they are needed.

        Args:
            options: Where the server is, and how many sessions.
            session_seconds_max: After this a session is opened anew before it is lent again.
            beside: A pool of the same server, which is left when this one leaves it.
        """
        self.options = options
        self._session_seconds_max = session_seconds_max
        self._beside = beside
        self._left_at = -math.inf
        self._turns = asyncio.Semaphore(options.pool_max)
        self._idle: list[MysqlSession] = []
        self._lent = 0
        self._waiting = 0
        self._killing: set[asyncio.Task[None]] = set()
        self._closed = False
        self.server: Server | None = None
        """What was connected to last, if anything was yet."""

    @asynccontextmanager
    async def lend(self) -> AsyncIterator["Loan"]:
        """Lend a session to one task or transaction.

        Raises:
            UnavailableError: No session came free in time, or there is no server.
        """
        await self._take_turn()
        self._lent += 1
        try:
            loan = Loan(self, self._idle_session() or await self._connect())
            try:
                yield loan
            finally:
                self._give_back(loan.session)
        finally:
            self._lent -= 1
            self._turns.release()

    def usage(self) -> PoolUsage:
        """Tell how the sessions are used now."""
        # The server ends those that nobody needs for long; they are taken out only when their turn comes.
        idle = sum(session.usable for session in self._idle)
        return PoolUsage(lent=self._lent, idle=idle, sessions_max=self.options.pool_max, waiting=self._waiting)

    async def _take_turn(self) -> None:
        if self._closed:
            raise closed_error()
        self._waiting += 1
        try:
            async with asyncio.timeout(self.options.acquire_timeout_seconds):
                await self._turns.acquire()
        except TimeoutError:
            options = self.options
            raise UnavailableError(
                f"the database is busy: none of {options.pool_max} connections came free in "
                f"{options.acquire_timeout_seconds:g} s",
                reason="database_busy",
            ) from None
        finally:
            self._waiting -= 1

    def _idle_session(self) -> MysqlSession | None:
        """Take an idle session that is alive, and close those that aren't.

        The server ends sessions that are idle for long; well before that they are closed here, so that none is lent in
        the moment in which it dies. One that the server closed earlier is known by its closed connection.
        """
        now = asyncio.get_running_loop().time()
        silent_since, opened_at = now - self.options.idle_timeout_seconds / 2, now - self._session_seconds_max
        while self._idle:
            session = self._idle.pop()
            if session.usable and session.idle_since > silent_since and session.opened_at > opened_at:
                return session
            session.close()
        return None

    async def _connect(self) -> MysqlSession:
        opened_at = asyncio.get_running_loop().time()
        try:
            session = await MysqlSession.connect(self.options)
        except (ServerError, ConnectionLostError) as error:
            raise translated(error) from error
        session.opened_at = opened_at
        self.server = session.greeting.server
        return session

    async def renewed(self) -> MysqlSession:
        """Open a session in the place of one that was lent and turned out to be dead; so are the idle ones."""
        self.leave_server()
        return await self._connect()

    def leave_server(self) -> None:
        """Lend no session again that was opened until now: the server's name may stand for another one by now."""
        self._left_at = asyncio.get_running_loop().time()
        self._close_idle()
        if self._beside is not None:
            self._beside.leave_server()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _give_back(self, session: MysqlSession) -> None:
        if session.usable and session.opened_at >= self._left_at:
            session.idle_since = asyncio.get_running_loop().time()
            self._idle.append(session)
            return
        session.close()

    def kill(self, session: MysqlSession) -> None:
        """Tell the server to end a session whose connection was closed in the middle of a statement.

        Otherwise it goes on, and may wait for a lock, get it, and notice only then that nobody is there.
        """
        task = asyncio.get_running_loop().create_task(self._kill(session.greeting.connection_id))
        self._killing.add(task)
        task.add_done_callback(self._killing.discard)

    async def _kill(self, connection_id: int) -> None:
        with suppress(ConnectionLostError, ServerError):
            killer = await MysqlSession.connect(self.options)
            try:
                response = await killer.run([f"KILL CONNECTION {connection_id}".encode()])
            finally:
                killer.close()
            if response.error is not None and response.error.code != _UNKNOWN_THREAD:
                logger.warning("mysql_kill_failed", error=str(response.error))

    async def close(self) -> None:
        """Close all sessions, once those who use them gave them back."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self.options.pool_max):
            await self._turns.acquire()
        await asyncio.gather(*self._killing)
        self._close_idle()


class Loan:
    """A session that was lent, and what takes its place when it turns out to be dead."""

    def __init__(self, pool: MysqlPool, session: MysqlSession) -> None:
        """Lend a session."""
        self._pool = pool
        self.session = session

    def may_have_died_idle(self, error: ConnectionLostError) -> bool:
        """Tell whether the connection may have been lost before this was sent: it had been used, and wasn't late."""
        return self.session.used_before and not isinstance(error, DeadlineError)

    async def renew(self) -> None:
        """Put a new session in the place of the dead one."""
        self.session.close()
        self.session = await self._pool.renewed()

    def leave(self, error: ServerError) -> None:
        """Close the connection to a server that can't serve any more, and leave the server."""
        if error.ends_connection:
            self.session.abort()
            self._pool.leave_server()

    def kill(self) -> None:
        """See `MysqlPool.kill`."""
        self._pool.kill(self.session)

    def kill_if_late(self, error: ConnectionLostError) -> None:
        """Do so after a deadline; a connection that the server ended needs it not."""
        if isinstance(error, DeadlineError):
            self.kill()
