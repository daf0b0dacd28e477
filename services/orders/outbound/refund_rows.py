"""Refunds in a transaction; the lock is their order's."""

from typing import Any, Final
from uuid import UUID

from services.orders.domain.refund import Refund, RefundState
from services.orders.outbound.order_mapping import Record, refund_of, rejection_columns
from services.orders.outbound.tables import Tables
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection

_ADD_LINE: Final = """
    INSERT INTO refund_lines (refund_id, line_number, quantity, amount_minor, seller_id) VALUES ($1, $2, $3, $4, $5)
"""


class SqlRefundRows:
    """Fits `RefundRows`."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        """Work in one transaction."""
        self._connection = connection
        self._tables = tables

    async def find(self, refund_id: UUID) -> Refund | None:
        """Read a refund."""
        refunds = self._tables.refunds
        return await self._with_lines(await refunds.select().where(refunds.refund_id == refund_id))

    async def pending(self, order_id: UUID) -> Refund | None:
        """Read the refund that a REFUNDING order waits for.

        Ids don't tell it: they are made by the clocks of several replicas.
        """
        return await self._newest(order_id, RefundState.PENDING)

    async def newest_refused(self, order_id: UUID) -> Refund | None:
        """Read the newest of an order's refunds that the ledger refused."""
        return await self._newest(order_id, RefundState.REFUSED)

    async def add(self, refund: Refund) -> None:
        """Write a new refund."""
        refunds = self._tables.refunds
        reason, message = rejection_columns(refund.rejection)
        await refunds.insert(
            refunds(
                refund_id=refund.refund_id,
                order_id=refund.order_id,
                state=refund.state.value,
                capture_number=refund.capture_number,
                currency=refund.currency,
                requested_by=refund.requested_by,
                rejection_reason=reason,
                rejection_message=message,
                created_at=to_micros(refund.created_at),
                updated_at=to_micros(refund.updated_at),
            )
        )
        await self._connection.execute_many(
            _ADD_LINE,
            [
                (refund.refund_id, line.line_number, line.quantity, line.amount_minor, line.seller_id)
                for line in refund.lines
            ],
        )

    async def save(self, refund: Refund) -> None:
        """Write what became of it."""
        refunds = self._tables.refunds
        reason, message = rejection_columns(refund.rejection)
        await refunds.update(
            {
                refunds.state: refund.state.value,
                refunds.rejection_reason: reason,
                refunds.rejection_message: message,
                refunds.updated_at: to_micros(refund.updated_at),
            }
        ).where(refunds.refund_id == refund.refund_id)

    async def _newest(self, order_id: UUID, state: RefundState) -> Refund | None:
        refunds = self._tables.refunds
        query = refunds.select().where(refunds.order_id == order_id, refunds.state == state.value)
        return await self._with_lines(await query.order_by(refunds.refund_id, ascending=False).limit(1))

    async def _with_lines(self, rows: list[dict[str, Any]]) -> Refund | None:
        if not rows:
            return None
        row: Record = rows[0]
        lines = self._tables.refund_lines
        line_rows = await lines.select().where(lines.refund_id == row["refund_id"]).order_by(lines.line_number)
        return refund_of(row, line_rows)
