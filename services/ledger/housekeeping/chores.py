"""The loop that does a chore step by step, and what it counts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)


class Chore(Protocol):
    """Something that is due again and again."""

    name: str

    async def step(self) -> bool:
        """Do a bounded part of it, and tell whether more is due now.

        Raises:
            UnavailableError: Neither the database nor the committer has room now.
        """
        ...


class HousekeepingMetrics:
    """What chores did, and how far behind they are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self._rows = Counter(
            "tradeflow_ledger_housekeeping_rows",
            "Rows that housekeeping dealt with",
            ("chore",),
            registry=registry,
        )
        self._lag_seconds = Gauge(
            "tradeflow_ledger_housekeeping_lag_seconds",
            "For how long the oldest row has been due",
            ("chore",),
            registry=registry,
        )

    def count(self, chore: str, rows: int) -> None:
        """Note rows that are dealt with."""
        self._rows.labels(chore).inc(rows)

    def note_lag(self, chore: str, lag: timedelta | None) -> None:
        """Note how long ago the oldest row fell due; None when none is."""
        self._lag_seconds.labels(chore).set(max(lag.total_seconds(), 0.0) if lag is not None else 0.0)

    def end(self, chore: str) -> None:
        """Show no lag any more: another process keeps house now."""
        self._lag_seconds.remove(chore)


async def keep_house(
    chore: Chore, *, clock: Clock, is_leader: Callable[[], bool], metrics: HousekeepingMetrics, pause_seconds: float
) -> None:
    """Do a chore until cancelled; with a pause when nothing more is due, or when others had better go first.

    Args:
        chore: What to do.
        clock: Pauses follow it.
        is_leader: Tells whether this replica keeps house now; without, nothing is read, written or shown.
        metrics: Where the chore notes its lag.
        pause_seconds: Between two looks.
    """
    while True:
        if is_leader():
            more_is_due = await _stepped(chore)
        else:
            more_is_due = False
            metrics.end(chore.name)
        if not more_is_due:
            await clock.sleep(pause_seconds)


async def _stepped(chore: Chore) -> bool:
    try:
        return await chore.step()
    except UnavailableError as error:
        logger.warning("housekeeping_waits", chore=chore.name, reason=error.reason, error=error.message)
        return False
