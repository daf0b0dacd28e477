"""What the comparison with the ledger asks of the world, and what is told of how orders came to where they are.

Beside `ports`, which is for what moves orders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from services.orders.domain.discrepancy import Discrepancy, DiscrepancyKind, NotedDiscrepancy, OrderSums

HISTORY_A_PAGE_MAX: Final = 1_000
"""Moves of an order that are read at once. Most orders have a few; each refund that the ledger refuses adds two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonStep:
    """A part of a round of comparisons: the orders after one, and up to where they go.

    The `began_at` of a round is before anything of it was read. `ends_round` says that no order is left that was there
    by then.
    """

    scope: str
    began_at: datetime
    taken_until: datetime
    after_order_id: UUID
    orders: tuple[OrderSums, ...]
    ends_round: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundProgress:
    """How far a scope is; `compared_at` is when its last whole round began, None before the first."""

    scope: str
    began_at: datetime
    compared_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonProgress:
    """How far the begun scopes are, and when the last discrepancy was over; None where none is remembered."""

    rounds: tuple[RoundProgress, ...]
    last_healed_at: datetime | None


class ComparisonRows(Protocol):
    """How far the comparison with the ledger is, in one transaction."""

    async def take(
        self, scope: str, now: datetime, *, round_from: UUID, round_pause: timedelta
    ) -> ComparisonStep | None:
        """Take the next step of a scope; None when another replica works on it, or its round was just over.

        A new round begins after `round_from`, at the earliest `round_pause` after the last one began.
        """
        ...

    async def finish(self, step: ComparisonStep) -> None:
        """Remember that the step's orders were compared, unless somebody took the step over."""
        ...

    async def note(self, discrepancy: Discrepancy, now: datetime, *, healed: bool) -> None:
        """Remember that a discrepancy was seen, and whether it is set right."""
        ...

    async def is_open(self, discrepancy: Discrepancy) -> bool:
        """Tell whether such a discrepancy was noted of the order before, and isn't healed."""
        ...

    async def settle(self, agreeing: Sequence[UUID], now: datetime) -> int:
        """Mark as healed what was noted of orders that agree by now; return how many."""
        ...

    async def forget(self, *, healed_before: datetime, rows_max: int) -> int:
        """Delete the discrepancies that were healed first; return how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One move of an order, as it is kept; empty and None where older code wrote it."""

    version: int
    from_state: str
    state: str
    changed_at: datetime
    moved_by: str
    reason: str
    journal_sequence: int | None


class RecoveryReads(Protocol):
    """What tells how orders came to where they are, and whether they agree with the ledger. Without locks."""

    async def history(self, order_id: UUID, *, after_version: int = 0) -> list[HistoryLine]:
        """Read up to `HISTORY_A_PAGE_MAX` moves of an order after a version, the first one first."""
        ...

    async def discrepancies(
        self, *, healed: bool, kind: DiscrepancyKind | None, after: tuple[UUID, str] | None, rows_max: int
    ) -> list[NotedDiscrepancy]:
        """Read what comparisons found after an order and kind, in the order of orders and kinds."""
        ...

    async def open_discrepancies(self) -> dict[DiscrepancyKind, int]:
        """Count what isn't healed, by kind."""
        ...

    async def progress(self) -> ComparisonProgress:
        """Tell how far each scope is, and when the last discrepancy was over."""
        ...

    async def sums(self, *, after: UUID, orders_max: int) -> list[OrderSums]:
        """Read orders as they are compared, in the order of their ids."""
        ...
