"""Holds end by themselves: this loop finds those whose time has come and tells the committer."""

from datetime import datetime
from uuid import UUID

import structlog

from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.ports import Submitter
from services.ledger.queries.book import Book
from services.runtime.clock import Clock, to_micros
from services.runtime.errors import TradeFlowError, UnavailableError

logger = structlog.get_logger(__name__)

STEP_HOLDS_MAX = 256
"""Holds of one step: a quarter of a batch, so that a flood of expiries leaves room for callers."""

PAUSE_SECONDS = 0.5
"""Between two looks when nothing more is due. Funds that are released half a second late hurt nobody."""

DUE_HOLDS = """
SELECT hold_id FROM hold_expiries
WHERE book_id = $1 AND expires_at <= $2
ORDER BY expires_at, hold_id
LIMIT $3
"""
"""The oldest due holds, from the start of the primary key. Locks nothing: the command looks again under the lock."""


class HoldExpiry:
    """Expires due holds in bounded steps."""

    def __init__(self, *, committer: Submitter, book: Book, clock: Clock) -> None:
        """Read the queue of the book, write through the committer, wait on the clock."""
        self._committer = committer
        self._book = book
        self._clock = clock

    async def run(self) -> None:
        """Expire until cancelled; a step that found no more than it could do is followed by a pause."""
        while True:
            try:
                expired = await self.expire_due()
            except UnavailableError as error:
                logger.warning("hold_expiry_waits", reason=error.reason, error=error.message)
                expired = 0
            if expired < STEP_HOLDS_MAX:
                await self._clock.sleep(PAUSE_SECONDS)

    async def expire_due(self) -> int:
        """Take one step and return how many holds it expired.

        A hold that can't be expired now is left for the next step, and the pause before it.

        Raises:
            UnavailableError: Neither the database nor the committer has room now.
        """
        due = await self._due_holds(self._clock.now())
        outcomes = await self._committer.submit_many([ExpireHold(hold_id=hold_id) for hold_id in due])
        refusals = [outcome for outcome in outcomes if isinstance(outcome, TradeFlowError)]
        if refusals:
            logger.warning("holds_not_expired", holds=len(refusals), reason=refusals[0].reason)
        return len(outcomes) - len(refusals)

    async def _due_holds(self, now: datetime) -> list[UUID]:
        async with self._book.database.snapshot() as connection:
            rows = await connection.fetch(DUE_HOLDS, self._book.book_id, to_micros(now), STEP_HOLDS_MAX)
        return [UUID(bytes=hold_id) for (hold_id,) in rows]
