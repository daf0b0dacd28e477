"""Answers that made no record don't stay for ever: after a while they shrink to their keys, which go much later.

Accepted keys live with their effect and are never touched. Answers have instants of their own, since the ledger's time
rises with each, so that a walk by time passes over none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.ledger.commands.command import Command
from services.ledger.commands.housekeeping import ForgetKeys, PruneAnswers
from services.ledger.domain.keys import RecordedKey
from services.ledger.domain.refusals import KeyExpiredError
from services.ledger.housekeeping.chores import HousekeepingMetrics
from services.ledger.outbound.stored_values import ANSWERED_COLUMNS, answered_key_of_row
from services.ledger.ports import Submitter
from services.ledger.queries.book import Book
from services.runtime.clock import EPOCH, Clock, to_micros
from services.runtime.step_size import StepSize

STEP_ANSWERS_MAX = 256
"""Answers of one step: each is a statement of the commit, some milliseconds in all."""

STEP_SECONDS_MAX = 0.25
"""How long a step should take, its wait for the committer included."""

PAUSE_SECONDS = 60.0
"""Between two looks when nothing more is old: retention is counted in days."""

OLD_ANSWERS = f"""
SELECT {ANSWERED_COLUMNS} FROM idempotency_keys
WHERE book_id = $1 AND recorded_at > $2 AND recorded_at < $3
ORDER BY recorded_at
LIMIT $4
"""  # noqa: S608 - a constant
"""The oldest answers behind an instant, by `idempotency_keys_by_time`. Locks nothing: nobody else changes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long answers are kept, and how long their keys: longer."""

    answers: timedelta
    keys: timedelta


class AnswerPruning:
    """Fits `Chore`: answers past their time shrink to their keys, which answer `key_expired`."""

    name = "answer_pruning"

    def __init__(
        self, *, committer: Submitter, book: Book, clock: Clock, retention: Retention, metrics: HousekeepingMetrics
    ) -> None:
        """Begin with the oldest: what shrank before this start is passed over once."""
        self._retention = retention
        self._walk = _Walk(committer=committer, book=book, clock=clock, metrics=metrics)

    async def step(self) -> bool:
        """Shrink the next answers."""
        return await self._walk.step(
            self.name,
            retention=self._retention.answers,
            is_due=lambda key: key.reason != KeyExpiredError.default_reason,
            command_of=lambda answers, before: PruneAnswers(answers=answers, before=before),
        )


class KeyForgetting:
    """Fits `Chore`: keys without a record go when nobody can mean them any more."""

    name = "key_forgetting"

    def __init__(
        self, *, committer: Submitter, book: Book, clock: Clock, retention: Retention, metrics: HousekeepingMetrics
    ) -> None:
        """Begin with the oldest."""
        self._retention = retention
        self._walk = _Walk(committer=committer, book=book, clock=clock, metrics=metrics)

    async def step(self) -> bool:
        """Forget the next keys."""
        return await self._walk.step(
            self.name,
            retention=self._retention.keys,
            is_due=lambda _key: True,
            command_of=lambda answers, before: ForgetKeys(answers=answers, before=before),
        )


class _Walk:
    """Walks over answers by their instants; what was dealt with is behind it."""

    def __init__(self, *, committer: Submitter, book: Book, clock: Clock, metrics: HousekeepingMetrics) -> None:
        self._committer = committer
        self._book = book
        self._clock = clock
        self._metrics = metrics
        self._size = StepSize(rows_max=STEP_ANSWERS_MAX, seconds_max=STEP_SECONDS_MAX)
        self._behind = EPOCH

    async def step(
        self,
        chore: str,
        *,
        retention: timedelta,
        is_due: Callable[[RecordedKey], bool],
        command_of: Callable[[tuple[RecordedKey, ...], datetime], Command],
    ) -> bool:
        before = self._clock.now() - retention
        with self._size.step() as answers_max:
            old = await self._old(before, answers_max)
            due = tuple([key for key in old if is_due(key)])
            self._metrics.note_lag(chore, before - due[0].recorded_at if due else None)
            if due:
                await self._committer.submit(command_of(due, before))
        if old:
            self._behind = old[-1].recorded_at
        self._metrics.count(chore, len(due))
        return len(old) == answers_max

    async def _old(self, before: datetime, answers_max: int) -> list[RecordedKey]:
        async with self._book.database.snapshot() as connection:
            rows = await connection.fetch(
                OLD_ANSWERS, self._book.book_id, to_micros(self._behind), to_micros(before), answers_max
            )
        return [answered_key_of_row(row) for row in rows]
