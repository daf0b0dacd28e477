"""All chores of one book, as loops of its process."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry

from services.ledger.housekeeping import answer_retention, hold_expiry
from services.ledger.housekeeping.answer_retention import AnswerPruning, KeyForgetting, Retention
from services.ledger.housekeeping.chores import Chore, HousekeepingMetrics, keep_house
from services.ledger.housekeeping.hold_expiry import HoldExpiry
from services.ledger.ports import Submitter
from services.ledger.queries.book import Book
from services.runtime.background import Loop
from services.runtime.clock import Clock


def housekeeping_loops(
    *,
    committer: Submitter,
    book: Book,
    clock: Clock,
    is_leader: Callable[[], bool],
    retention: Retention,
    registry: CollectorRegistry,
) -> dict[str, Loop]:
    """Make the loops, by their names; those of a replica that doesn't lead are idle."""
    metrics = HousekeepingMetrics(registry)
    chores: list[tuple[Chore, float]] = [
        (HoldExpiry(committer=committer, book=book, clock=clock, metrics=metrics), hold_expiry.PAUSE_SECONDS),
        *[
            (
                make(committer=committer, book=book, clock=clock, retention=retention, metrics=metrics),
                answer_retention.PAUSE_SECONDS,
            )
            for make in (AnswerPruning, KeyForgetting)
        ],
    ]
    return {
        chore.name: partial(
            keep_house, chore, clock=clock, is_leader=is_leader, metrics=metrics, pause_seconds=pause_seconds
        )
        for chore, pause_seconds in chores
    }
