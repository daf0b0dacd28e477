"""The lease of a book: which of several committers works from its cache and ahead, and keeps house.

Nothing rests on it but speed: each batch compares the book's head under the lock, whoever sends it. So clocks that
differ, or a holder that was asleep for longer than its lease, cost repetitions and no more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

from services.runtime.clock import Clock, from_micros, to_micros
from services.runtime.database.port import Database, Row
from services.runtime.errors import UnavailableError
from services.runtime.ids import new_id
from services.runtime.others_lease import OthersLease

logger = structlog.get_logger(__name__)

LEASE_SECONDS = 5.0
"""How long a holder that was killed keeps the others in the slow way: a few seconds at half the speed."""

RENEWALS_A_LEASE = 4
"""How often it is renewed within its time: a renewal or two may fail before it is lost."""

# Reads who holds the lease. Locks nothing, so that a committer that stands by writes nothing.
_READ = "SELECT holder, expires_at, fencing_token FROM book_leases WHERE book_id = $1"

# The same, and locks the row against others that want it. Never held together with the book's lock.
_LOCK = f"{_READ} FOR UPDATE"

# Begins with a lease that nobody holds.
_BEGIN = """
    INSERT INTO book_leases (book_id, holder, expires_at, fencing_token) VALUES ($1, $2, 0, 0)
    ON CONFLICT (book_id) DO NOTHING
"""

# Takes the lease, or extends it; the row is locked.
_TAKE = "UPDATE book_leases SET holder = $1, expires_at = $2, fencing_token = $3 WHERE book_id = $4"

# Lets go of it, so that another committer need not wait for its end.
_RELEASE = "UPDATE book_leases SET expires_at = 0 WHERE book_id = $1 AND holder = $2 AND fencing_token = $3"


class BookLease:
    """One committer's view of its book's lease."""

    def __init__(self, database: Database, book_id: int, clock: Clock, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Hold nothing yet."""
        self._database = database
        self._book_id = book_id
        self._clock = clock
        self._span = timedelta(seconds=lease_seconds)
        self._pause_seconds = lease_seconds / RENEWALS_A_LEASE
        self._holder = new_id().bytes
        self._expires_at: datetime | None = None
        self._others_lease = OthersLease()
        self.stands_by = False
        """Whether another committer held it at the last look."""
        self.fencing_token = 0
        """Rises with each new holder; this one's own once it held the lease."""

    @property
    def held(self) -> bool:
        """Tell whether it is this committer's now."""
        return self._expires_at is not None and self._clock.now() < self._expires_at

    async def take(self) -> bool:
        """Take the lease or extend it; False when another committer holds it.

        Raises:
            UnavailableError: The database is away; what was held is held until its end.
        """
        # The span counts from before the statement: its answer may be late.
        now = self._clock.now()
        token = None if not self.held and await self._is_anothers(now) else await self._write(now)
        self.stands_by = token is None
        if token is None:
            self._expires_at = None
            return False
        if token != self.fencing_token or not self.held:
            logger.info("ledger_lease_taken", book=self._book_id, fencing_token=token)
        self.fencing_token, self._expires_at = token, now + self._span
        return True

    async def release(self) -> None:
        """Let another committer take over at once."""
        held, self._expires_at = self._expires_at is not None, None
        if held:
            async with self._database.transaction() as connection:
                await connection.execute(_RELEASE, self._book_id, self._holder, self.fencing_token)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Take it if it is free, renew it or wait for it while the body runs, and let go of it in the end."""
        await self._try_to_take()
        task = asyncio.create_task(self._keep(), name=f"ledger-lease:{self._book_id}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            try:
                await self.release()
            except UnavailableError as error:
                logger.warning("ledger_lease_not_released", book=self._book_id, reason=error.reason)

    def while_held(self, loop: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Make a loop that runs only in the process that holds the lease: it begins and ends with it.

        It may run a little longer than the lease: what it does must be harmless when two do it.
        """

        async def run() -> None:
            while True:
                if self.held and await self._ended_while_held(asyncio.ensure_future(loop())):
                    return
                await self._clock.sleep(self._pause_seconds)

        return run

    async def _ended_while_held(self, task: asyncio.Future[None]) -> bool:
        """Wait for a loop to end by itself, or end it when the lease is lost."""
        try:
            while self.held:
                await asyncio.wait({task}, timeout=self._pause_seconds)
                if task.done():
                    await task
                    return True
        finally:
            task.cancel()
            await asyncio.wait({task})
        return False

    async def _keep(self) -> None:
        while True:
            await self._clock.sleep(self._pause_seconds)
            await self._try_to_take()

    async def _try_to_take(self) -> None:
        try:
            await self.take()
        except UnavailableError as error:
            logger.warning("ledger_lease_waits", book=self._book_id, reason=error.reason)
        except Exception:  # the committer works without it, and the next try may succeed
            logger.exception("ledger_lease_failed", book=self._book_id)

    async def _is_anothers(self, now: datetime) -> bool:
        async with self._database.snapshot() as connection:
            rows = await connection.fetch(_READ, self._book_id)
        return bool(rows) and rows[0][0] != self._holder and self._lasts(rows[0], now)

    def _lasts(self, row: Row, now: datetime) -> bool:
        """Tell whether another committer's lease is to be waited for."""
        return self._others_lease.lasts(row, from_micros(row[1]), now)

    async def _write(self, now: datetime) -> int | None:
        """Write the row, and return the fencing token; None when another committer came first."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_LOCK, self._book_id)
            if not rows:
                await connection.execute(_BEGIN, self._book_id, bytes(16))
                rows = await connection.fetch(_LOCK, self._book_id)
            holder, _, fencing_token = rows[0]
            mine = holder == self._holder
            if not mine and self._lasts(rows[0], now):
                return None
            # Its own lease goes on, even past its end, when nobody took it meanwhile; any other is a new one.
            token = int(fencing_token) if mine else int(fencing_token) + 1
            await connection.execute(_TAKE, self._holder, to_micros(now + self._span), token, self._book_id)
        return token
