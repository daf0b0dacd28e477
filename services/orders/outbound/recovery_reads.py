"""How orders came to where they are, and whether they agree with the ledger: read without locks."""

from typing import Final
from uuid import UUID

from services.orders.domain.discrepancy import DiscrepancyKind, HoldSide, NotedDiscrepancy, OrderSide, OrderSums
from services.orders.domain.hold import HoldState
from services.orders.domain.order_state import OrderState
from services.orders.outbound.comparison_rows import READ_SUMS, sums_of
from services.orders.recovery_ports import HISTORY_A_PAGE_MAX, ComparisonProgress, HistoryLine, RoundProgress
from services.runtime.clock import from_micros, from_micros_or_none
from services.runtime.database.port import Database, Query, Row

_HISTORY: Final = """
    SELECT version, from_state, state, changed_at, moved_by, note, journal_sequence FROM order_history
    WHERE order_id = $1 AND version > $2 ORDER BY version LIMIT $3
"""

_COLUMNS: Final = """
    order_id, kind, message, first_seen_at, last_seen_at, seen, healed_at,
    order_state, order_currency, order_captured_minor, order_refunded_minor,
    hold_state, hold_currency, hold_captured_minor, hold_refunded_minor, hold_remaining_minor
"""

_OPEN: Final = f"""
    SELECT {_COLUMNS} FROM discrepancies
    WHERE healed_at IS NULL AND ($1 = '' OR kind = $1)
        AND (order_id > $2 OR order_id = $2 AND kind > $3)
    ORDER BY order_id, kind LIMIT $4
"""  # noqa: S608 - constants only

_HEALED: Final = f"""
    SELECT {_COLUMNS} FROM discrepancies
    WHERE healed_at IS NOT NULL AND ($1 = '' OR kind = $1)
        AND (order_id > $2 OR order_id = $2 AND kind > $3)
    ORDER BY order_id, kind LIMIT $4
"""  # noqa: S608 - constants only

_COUNT_OPEN: Final = "SELECT kind, COUNT(*) FROM discrepancies WHERE healed_at IS NULL GROUP BY kind"

# A look-up at the index's end.
_LAST_HEALED: Final = "SELECT MAX(healed_at) FROM discrepancies"

_ROUNDS: Final = "SELECT scope, began_at, compared_at FROM reconciliations ORDER BY scope"


class SqlRecoveryReads:
    """Fits `RecoveryReads`."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._database = database

    async def history(self, order_id: UUID, *, after_version: int = 0) -> list[HistoryLine]:
        """Read up to `HISTORY_A_PAGE_MAX` moves of an order after a version, the first one first."""
        return [
            HistoryLine(
                version=version,
                from_state=from_state,
                state=state,
                changed_at=from_micros(changed_at),
                moved_by=moved_by,
                reason=note,
                journal_sequence=journal_sequence,
            )
            for version, from_state, state, changed_at, moved_by, note, journal_sequence in await self._fetch(
                _HISTORY, order_id, after_version, HISTORY_A_PAGE_MAX
            )
        ]

    async def discrepancies(
        self, *, healed: bool, kind: DiscrepancyKind | None, after: tuple[UUID, str] | None, rows_max: int
    ) -> list[NotedDiscrepancy]:
        """Read what comparisons found after an order and kind, in the order of orders and kinds."""
        word = kind.value if kind is not None else ""
        order_id, after_kind = after or (UUID(int=0), "")
        rows = await self._fetch(_HEALED if healed else _OPEN, word, order_id, after_kind, rows_max)
        return [_noted(row) for row in rows]

    async def open_discrepancies(self) -> dict[DiscrepancyKind, int]:
        """Count what isn't healed, by kind."""
        return {DiscrepancyKind(word): count for word, count in await self._fetch(_COUNT_OPEN)}

    async def progress(self) -> ComparisonProgress:
        """Tell how far each scope is, and when the last discrepancy was over."""
        async with self._database.snapshot() as connection:
            rounds, ((healed_at,),) = await connection.fetch_together([Query(_ROUNDS), Query(_LAST_HEALED)])
        return ComparisonProgress(
            rounds=tuple(
                RoundProgress(
                    scope=bytes(scope).decode(),
                    began_at=from_micros(began_at),
                    compared_at=from_micros(compared_at) if compared_at else None,
                )
                for scope, began_at, compared_at in rounds
            ),
            last_healed_at=from_micros_or_none(healed_at),
        )

    async def sums(self, *, after: UUID, orders_max: int) -> list[OrderSums]:
        """Read orders as they are compared, in the order of their ids."""
        return [sums_of(row) for row in await self._fetch(READ_SUMS, after, orders_max)]

    async def orders_count(self) -> int:
        """Count all orders."""
        ((count,),) = await self._fetch("SELECT COUNT(*) FROM orders")
        return int(count)

    async def _fetch(self, sql: str, *arguments: object) -> list[Row]:
        async with self._database.snapshot() as connection:
            return await connection.fetch(sql, *arguments)


def _noted(row: Row) -> NotedDiscrepancy:
    order_id, kind, message, first_seen_at, last_seen_at, seen, healed_at = row[:7]
    return NotedDiscrepancy(
        order_id=order_id,
        kind=DiscrepancyKind(kind),
        message=message,
        order=_order_side(row[7:11]),
        hold=_hold_side(row[11:]),
        first_seen_at=from_micros(first_seen_at),
        last_seen_at=from_micros(last_seen_at),
        seen=seen,
        healed_at=from_micros_or_none(healed_at),
    )


def _order_side(columns: Row) -> OrderSide | None:
    state, currency, captured_minor, refunded_minor = columns
    if state is None:
        return None
    return OrderSide(
        state=OrderState(state), currency=currency, captured_minor=captured_minor, refunded_minor=refunded_minor
    )


def _hold_side(columns: Row) -> HoldSide | None:
    state, currency, captured_minor, refunded_minor, remaining_minor = columns
    if state is None:
        return None
    return HoldSide(
        state=HoldState(state),
        currency=currency,
        captured_minor=captured_minor,
        refunded_minor=refunded_minor,
        remaining_minor=remaining_minor,
    )
