"""Orders in a transaction: locked when read, compared and set when written."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.orders.domain.order import Order
from services.orders.domain.terms import next_look_at
from services.orders.outbound.buffered_writes import BufferedWrites
from services.orders.outbound.order_mapping import REASON_CHARACTERS_MAX, Record, order_of, rejection_columns
from services.runtime.clock import from_micros, to_micros, to_micros_or_none
from services.runtime.database.port import Connection, Query
from services.runtime.errors import ConflictError

_COLUMNS: Final = (
    "order_id",
    "version",
    "state",
    "buyer_id",
    "capture",
    "currency",
    "total_minor",
    "captured_minor",
    "refunded_minor",
    "fee_basis_points",
    "rejection_reason",
    "rejection_message",
    "created_at",
    "updated_at",
    "expires_at",
)

_LINE_COLUMNS: Final = (
    "line_number",
    "sku",
    "title",
    "quantity",
    "unit_price_minor",
    "seller_id",
    "stock_tracked",
    "fee_basis_points",
    "refunded_quantity",
    "refunded_minor",
)

# Locks the order's row: whoever decides about an order decides alone.
_LOCK_ORDER: Final = f"SELECT {', '.join(_COLUMNS)} FROM orders WHERE order_id = $1 FOR UPDATE"  # noqa: S608 - constants only

# Locks many, in the order of their ids, so that nobody waits in a circle.
_LOCK_ORDERS: Final = f"""
    SELECT {", ".join(_COLUMNS)} FROM orders WHERE order_id IN ($in) ORDER BY order_id FOR UPDATE
"""  # noqa: S608 - constants only

_READ_LINES_OF_MANY: Final = """
    SELECT order_id, line_number, sku, title, quantity, unit_price_minor, seller_id, stock_tracked, fee_basis_points,
        refunded_quantity, refunded_minor
    FROM order_lines WHERE order_id IN ($in) ORDER BY order_id, line_number
"""

# What is in the order; its row's lock is theirs.
_READ_LINES: Final = """
    SELECT line_number, sku, title, quantity, unit_price_minor, seller_id, stock_tracked, fee_basis_points,
        refunded_quantity, refunded_minor
    FROM order_lines WHERE order_id = $1 ORDER BY line_number
"""

_ADD_ORDER: Final = """
    INSERT INTO orders (order_id, version, state, buyer_id, capture, currency, total_minor, captured_minor,
        refunded_minor, fee_basis_points, rejection_reason, rejection_message, created_at, updated_at, expires_at,
        due_at, looks)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0)
"""

# Compares and sets: nothing is written when somebody else changed the order since it was read. Columns and values only,
# so that many can be packed into one.
_SAVE_ORDER: Final = """
    UPDATE orders SET version = $1, state = $2, captured_minor = $3, refunded_minor = $4, rejection_reason = $5,
        rejection_message = $6, updated_at = $7, due_at = $8, looks = $9
    WHERE order_id = $10 AND version = $11
"""

_ADD_LINE: Final = """
    INSERT INTO order_lines (order_id, line_number, sku, title, quantity, unit_price_minor, seller_id, stock_tracked,
        fee_basis_points, refunded_quantity, refunded_minor)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""

_SAVE_LINE: Final = """
    UPDATE order_lines SET refunded_quantity = $1, refunded_minor = $2 WHERE order_id = $3 AND line_number = $4
"""

_ADD_HISTORY: Final = """
    INSERT INTO order_history (order_id, version, from_state, state, changed_at, note, moved_by, journal_sequence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

# Locks the orders that are due, so that two replicas don't take the same ones.
_LOCK_DUE: Final = """
    SELECT order_id, looks, expires_at FROM orders WHERE due_at <= $1 ORDER BY due_at LIMIT $2 FOR UPDATE
"""

_PUT_OFF: Final = "UPDATE orders SET due_at = $1, looks = looks + 1 WHERE order_id = $2"

_REST: Final = "UPDATE orders SET due_at = NULL WHERE order_id = $1"


class SqlOrderRows:
    """Fits `OrderRows`."""

    def __init__(
        self,
        connection: Connection,
        *,
        patience: timedelta,
        on_change: Callable[[Order], None] = lambda _: None,
    ) -> None:
        """Work in one transaction.

        Args:
            connection: The transaction's.
            patience: How long a step may take before the reconciler looks after it.
            on_change: Is told each order that changes; the transaction may still fail.
        """
        self._on_change = on_change
        self._connection = connection
        self._patience = patience
        self._locked: dict[UUID, Order] = {}
        self._writes = BufferedWrites(connection)
        self._saved: set[UUID] = set()

    async def lock(self, order_ids: Sequence[UUID]) -> None:
        """Lock and read many orders at once, so that `find` has them."""
        wanted = sorted(set(order_ids))
        if not wanted:
            return
        rows, line_rows = await self._connection.fetch_together(
            [Query(_LOCK_ORDERS, in_=wanted), Query(_READ_LINES_OF_MANY, in_=wanted)]
        )
        lines: defaultdict[UUID, list[Record]] = defaultdict(list)
        for order_id, *line in line_rows:
            lines[order_id].append(dict(zip(_LINE_COLUMNS, line, strict=True)))
        for row in rows:
            self._locked[row[0]] = order_of(dict(zip(_COLUMNS, row, strict=True)), lines[row[0]])

    async def find(self, order_id: UUID) -> Order | None:
        """Lock and read an order; one that this transaction has locked is as this transaction left it."""
        if order_id in self._locked:
            return self._locked[order_id]
        rows, line_rows = await self._connection.fetch_together(
            [Query(_LOCK_ORDER, (order_id,)), Query(_READ_LINES, (order_id,))]
        )
        if not rows:
            return None
        lines = [dict(zip(_LINE_COLUMNS, row, strict=True)) for row in line_rows]
        self._locked[order_id] = order_of(dict(zip(_COLUMNS, rows[0], strict=True)), lines)
        return self._locked[order_id]

    async def add(self, order: Order, *, by: str) -> None:
        """Write a new order with its lines and its history."""
        reason, message = rejection_columns(order.rejection)
        row = (
            order.order_id,
            order.version,
            order.state.value,
            order.buyer_id,
            order.capture.value,
            order.total.currency,
            order.total.amount_minor,
            order.captured.amount_minor,
            order.refunded.amount_minor,
            order.fee_basis_points,
            reason,
            message,
            to_micros(order.created_at),
            to_micros(order.updated_at),
            to_micros(order.expires_at),
            to_micros_or_none(order.due_at(self._patience)),
        )
        self._writes.add(_ADD_ORDER, row)
        self._add_lines(order)
        self._add_history(order, by, journal_sequence=0)

    async def save(self, order: Order, *, by: str, journal_sequence: int = 0) -> None:
        """Write the order's changes, with their history: who made them, and the ledger's record behind them.

        Raises:
            ConflictError: `order_changed`.
        """
        reason, message = rejection_columns(order.rejection)
        order_row = (
            order.version,
            order.state.value,
            order.captured.amount_minor,
            order.refunded.amount_minor,
            reason,
            message,
            to_micros(order.updated_at),
            to_micros_or_none(order.due_at(self._patience)),
            0,
            order.order_id,
            order.stored_version,
        )
        await self._save(order, order_row)
        for line in order.lines:
            if line.refunded_quantity or line.refunded_minor:
                row = (line.refunded_quantity, line.refunded_minor, order.order_id, line.line_number)
                self._writes.add(_SAVE_LINE, row)
        self._add_history(order, by, journal_sequence)
        self._locked[order.order_id] = replace(order, changes=())

    async def take_due(self, now: datetime, *, orders_max: int) -> list[UUID]:
        """Return orders that somebody should look at, and put the next look at each off, longer each time."""
        due = await self._connection.fetch(_LOCK_DUE, to_micros(now), orders_max)
        for order_id, looks, expires_at_micros in due:
            later = next_look_at(
                now=now, looks=looks, expires_at=from_micros(expires_at_micros), patience=self._patience
            )
            await self._connection.execute(_PUT_OFF, to_micros(later), order_id)
        return [order_id for order_id, _, _ in due]

    async def rest(self, order_id: UUID) -> None:
        """Nobody needs to look at this order again, unless it moves."""
        await self.flush()
        await self._connection.execute(_REST, order_id)

    async def flush(self) -> None:
        """Hand over what was written; the store does so at the transaction's end."""
        self._saved.clear()
        await self._writes.flush()

    async def _save(self, order: Order, row: Sequence[object]) -> None:
        """Write with others what nobody else can have changed; what this transaction never locked is compared."""
        if order.order_id not in self._locked:
            if await self._connection.execute(_SAVE_ORDER, *row) != 1:
                raise ConflictError("Somebody else changed the order at the same time.", reason="order_changed")
            return
        if order.order_id in self._saved:
            await self.flush()
        self._saved.add(order.order_id)
        self._writes.add(_SAVE_ORDER, row)

    def _add_lines(self, order: Order) -> None:
        for line in order.lines:
            row = (
                order.order_id,
                line.line_number,
                line.sku.encode(),
                line.title,
                line.quantity,
                line.unit_price.amount_minor,
                line.seller_id,
                line.stock_tracked,
                line.fee_basis_points,
                line.refunded_quantity,
                line.refunded_minor,
            )
            self._writes.add(_ADD_LINE, row)

    def _add_history(self, order: Order, by: str, journal_sequence: int) -> None:
        self._on_change(order)
        for change in order.changes:
            row = (
                order.order_id,
                change.version,
                change.from_state.value if change.from_state is not None else "",
                change.state.value,
                to_micros(change.changed_at),
                change.note[:REASON_CHARACTERS_MAX],
                by,
                journal_sequence or None,
            )
            self._writes.add(_ADD_HISTORY, row)
