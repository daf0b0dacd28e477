"""Holds end by themselves: those whose time has come are expired, and the queue that said so is emptied."""

from datetime import datetime
from uuid import UUID

import structlog

from services.ledger.commands.command import Command
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.commands.housekeeping import ForgetExpiries
from services.ledger.domain.hold import HoldState
from services.ledger.housekeeping.chores import HousekeepingMetrics
from services.ledger.ports import Submitter
from services.ledger.queries.book import Book
from services.runtime.clock import EPOCH, Clock, from_micros, to_micros
from services.runtime.database.port import Row
from services.runtime.errors import TradeFlowError
from services.runtime.step_size import StepSize

logger = structlog.get_logger(__name__)

STEP_HOLDS_MAX = 256
"""Holds of one step: a quarter of a batch, so that a flood of expiries leaves room for callers."""

STEP_SECONDS_MAX = 0.25
"""How long a step should take, its wait for the committer included: a busy committer gets smaller ones."""

PAUSE_SECONDS = 0.5
"""Between two looks when nothing more is due. Funds that are released half a second late hurt nobody."""

DUE_HOLDS = """
SELECT e.expires_at, e.hold_id, h.state
FROM hold_expiries e LEFT JOIN holds h ON h.book_id = e.book_id AND h.hold_id = e.hold_id
WHERE e.book_id = $1 AND e.expires_at >= $2 AND e.expires_at <= $3 AND (e.expires_at > $2 OR e.hold_id > $4)
ORDER BY e.expires_at, e.hold_id
LIMIT $5
"""
"""The oldest due rows behind a place in the queue, by primary key, and what became of their holds. Locks nothing: the
commands look again under the lock."""

Place = tuple[datetime, UUID]
"""A place in the queue: an instant and a hold."""

_START: Place = (EPOCH, UUID(int=0))


class HoldExpiry:
    """Fits `Chore`."""

    name = "hold_expiry"

    def __init__(self, *, committer: Submitter, book: Book, clock: Clock, metrics: HousekeepingMetrics) -> None:
        """Read the queue of the book, write through the committer."""
        self._committer = committer
        self._book = book
        self._clock = clock
        self._metrics = metrics
        self._size = StepSize(rows_max=STEP_HOLDS_MAX, seconds_max=STEP_SECONDS_MAX)
        self._place = _START

    async def step(self) -> bool:
        """Expire the next due holds that are open, and forget their rows with those of holds that ended otherwise.

        A hold that can't be expired is passed over, so that it holds up nobody, until the walk begins anew.
        """
        now = self._clock.now()
        with self._size.step() as holds_max:
            due = await self._due(now, holds_max)
            if self._place == _START:
                self._metrics.note_lag(self.name, now - from_micros(due[0][0]) if due else None)
            if due:
                await self._end([(from_micros(row[0]), UUID(bytes=row[1]), row[2]) for row in due])
        full = len(due) == holds_max
        self._place = (from_micros(due[-1][0]), UUID(bytes=due[-1][1])) if full else _START
        return full

    async def _due(self, now: datetime, holds_max: int) -> list[Row]:
        after_instant, after_hold_id = self._place
        async with self._book.database.snapshot() as connection:
            return await connection.fetch(
                DUE_HOLDS,
                self._book.book_id,
                to_micros(after_instant),
                to_micros(now),
                after_hold_id.bytes,
                holds_max,
            )

    async def _end(self, due: list[tuple[datetime, UUID, bytes | None]]) -> None:
        expiring = [hold_id for _, hold_id, state in due if state == HoldState.OPEN.value.encode()]
        commands: list[Command] = [ExpireHold(hold_id=hold_id) for hold_id in expiring]
        # Last: it sees what became of the holds, and keeps the rows of those that are still open.
        commands.append(ForgetExpiries(expiries=tuple([(expires_at, hold_id) for expires_at, hold_id, _ in due])))
        outcomes = await self._committer.submit_many(commands)
        failures = [outcome for outcome in outcomes if isinstance(outcome, TradeFlowError)]
        if failures:
            logger.warning("holds_not_expired", failures=len(failures), reason=failures[0].reason)
        self._metrics.count(self.name, max(len(due) - len(failures), 0))
