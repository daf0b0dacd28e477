"""Orders in a transaction: locked when read, compared and set when written."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.orders.domain.order import Order, StateChange
from services.orders.domain.terms import next_look_at
from services.orders.outbound.order_mapping import REASON_CHARACTERS_MAX, order_of, rejection_columns
from services.orders.outbound.tables import Tables
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection
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

# Locks the order's row: whoever decides about an order decides alone.
_LOCK_ORDER: Final = f"SELECT {', '.join(_COLUMNS)} FROM orders WHERE order_id = $1 FOR UPDATE"  # noqa: S608 - constants only

# Compares and sets: nothing is written when somebody else changed the order since it was read.
_SAVE_ORDER: Final = """
    UPDATE orders SET version = $1, state = $2, captured_minor = $3, refunded_minor = $4, rejection_reason = $5,
        rejection_message = $6, updated_at = $7, due_at = $8, looks = 0
    WHERE order_id = $9 AND version = $10
"""

_ADD_LINE: Final = """
    INSERT INTO order_lines (order_id, line_number, sku, title, quantity, unit_price_minor, seller_id, stock_tracked,
        refunded_quantity)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

_SAVE_LINE: Final = "UPDATE order_lines SET refunded_quantity = $1 WHERE order_id = $2 AND line_number = $3"

_ADD_HISTORY: Final = """
    INSERT INTO order_history (order_id, version, state, changed_at, note) VALUES ($1, $2, $3, $4, $5)
"""

# Locks the orders that are due, so that two replicas don't take the same ones.
_LOCK_DUE: Final = """
    SELECT order_id, looks, expires_at FROM orders WHERE due_at <= $1 ORDER BY due_at LIMIT $2 FOR UPDATE
"""

_PUT_OFF: Final = "UPDATE orders SET due_at = $1, looks = looks + 1 WHERE order_id = $2"

_REST: Final = "UPDATE orders SET due_at = NULL WHERE order_id = $1"


class SqlOrderRows:
    """Fits `OrderRows`."""

    def __init__(self, connection: Connection, tables: Tables, *, patience: timedelta) -> None:
        """Work in one transaction; `patience` is how long a step may take before the reconciler looks after it."""
        self._connection = connection
        self._tables = tables
        self._patience = patience

    async def find(self, order_id: UUID) -> Order | None:
        """Lock and read an order."""
        rows = await self._connection.fetch(_LOCK_ORDER, order_id)
        if not rows:
            return None
        lines = self._tables.order_lines
        line_rows = await lines.select().where(lines.order_id == order_id).order_by(lines.line_number)
        return order_of(dict(zip(_COLUMNS, rows[0], strict=True)), line_rows)

    async def add(self, order: Order) -> None:
        """Write a new order with its lines and its history."""
        reason, message = rejection_columns(order.rejection)
        orders = self._tables.orders
        await orders.insert(
            orders(
                order_id=order.order_id,
                version=order.version,
                state=order.state.value,
                buyer_id=order.buyer_id,
                capture=order.capture.value,
                currency=order.total.currency,
                total_minor=order.total.amount_minor,
                captured_minor=order.captured.amount_minor,
                refunded_minor=order.refunded.amount_minor,
                fee_basis_points=order.fee_basis_points,
                rejection_reason=reason,
                rejection_message=message,
                created_at=to_micros(order.created_at),
                updated_at=to_micros(order.updated_at),
                expires_at=to_micros(order.expires_at),
                due_at=_micros_or_none(order.due_at(self._patience)),
                looks=0,
            )
        )
        await self._add_lines(order)
        await self._add_history(order.order_id, order.changes)

    async def save(self, order: Order) -> None:
        """Write the order's changes, with their history.

        Raises:
            ConflictError: `order_changed`.
        """
        reason, message = rejection_columns(order.rejection)
        changed_rows = await self._connection.execute(
            _SAVE_ORDER,
            order.version,
            order.state.value,
            order.captured.amount_minor,
            order.refunded.amount_minor,
            reason,
            message,
            to_micros(order.updated_at),
            _micros_or_none(order.due_at(self._patience)),
            order.order_id,
            order.stored_version,
        )
        if changed_rows != 1:
            raise ConflictError("Somebody else changed the order at the same time.", reason="order_changed")
        for line in order.lines:
            if line.refunded_quantity:
                await self._connection.execute(_SAVE_LINE, line.refunded_quantity, order.order_id, line.line_number)
        await self._add_history(order.order_id, order.changes)

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
        await self._connection.execute(_REST, order_id)

    async def _add_lines(self, order: Order) -> None:
        await self._connection.execute_many(
            _ADD_LINE,
            [
                (
                    order.order_id,
                    line.line_number,
                    line.sku.encode(),
                    line.title,
                    line.quantity,
                    line.unit_price.amount_minor,
                    line.seller_id,
                    line.stock_tracked,
                    line.refunded_quantity,
                )
                for line in order.lines
            ],
        )

    async def _add_history(self, order_id: UUID, changes: tuple[StateChange, ...]) -> None:
        await self._connection.execute_many(
            _ADD_HISTORY,
            [
                (
                    order_id,
                    change.version,
                    change.state.value,
                    to_micros(change.changed_at),
                    change.note[:REASON_CHARACTERS_MAX],
                )
                for change in changes
            ],
        )


def _micros_or_none(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)
