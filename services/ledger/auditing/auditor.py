"""The loop that audits: walk after walk, at a pace that leaves the machine to those who commit."""

import asyncio
import time
from dataclasses import dataclass

import structlog

from services.ledger.auditing.audited_invariant import AuditedInvariant
from services.ledger.auditing.book_walk import BookWalk
from services.ledger.auditing.metrics import AuditMetrics
from services.ledger.auditing.resting import Resting
from services.ledger.queries.book import Book
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

STEP_ROWS = 128
"""Rows of one step, each with the records that prove it: decoding them takes a millisecond or two, for which everything
else in the process waits."""

NEWEST_RECORDS = 5_000
"""How much of the journal's end each walk checks; `verify` checks all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPace:
    """How fast it goes.

    Attributes:
        load_ratio: Which part of the time a walk may be at work: with 0.05, nineteen parts of twenty are pauses.
        pause_seconds: Between two walks.
    """

    load_ratio: float
    pause_seconds: float


class Auditor:
    """Audits one book. Harmless in several processes at once, and of use in one: `run` it while leading."""

    def __init__(self, book: Book, pace: AuditPace, metrics: AuditMetrics) -> None:
        """Audit nothing yet."""
        self._book = book
        self._pace = pace
        self._metrics = metrics

    async def run(self) -> None:
        """Audit until cancelled; while the database is away, wait for it."""
        self._metrics.begin()
        try:
            while True:
                try:
                    await self.walk()
                except UnavailableError as error:
                    self._metrics.note_interrupted()
                    logger.warning("ledger_audit_interrupted", book=self._book.book_id, reason=error.reason)
                await asyncio.sleep(self._pace.pause_seconds)
        finally:
            self._metrics.end()

    async def walk(self) -> BookWalk:
        """Walk through the whole book once.

        Raises:
            UnavailableError: The database went away in the middle.
        """
        began_at_seconds = time.monotonic()
        walk = await BookWalk.begin(self._book, newest_records=NEWEST_RECORDS)
        told: set[AuditedInvariant] = set()
        resting = Resting(self._pace.load_ratio)
        while not walk.done:
            rows_before = walk.rows
            await walk.step(STEP_ROWS, resting.rest)
            self._metrics.note_rows(walk.rows - rows_before)
            self._tell(walk, told)
            await resting.rest()
        self._metrics.note_walk(walk, time.monotonic() - began_at_seconds)
        return walk

    def _tell(self, walk: BookWalk, told: set[AuditedInvariant]) -> None:
        """Say what was found as soon as it is, once a walk."""
        for invariant, findings in walk.findings.broken.items():
            if invariant not in told:
                told.add(invariant)
                self._metrics.note_broken(invariant)
                first = findings.problems[0]
                logger.error(
                    "ledger_invariant_broken",
                    book=self._book.book_id,
                    invariant=invariant.value,
                    table=first.table,
                    row=first.row,
                    column=first.column,
                    problem=first.message,
                    as_of_sequence=walk.sums.sequence,
                )
