"""A seller's sales: their own lines of each order, summed."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from services.orders.list_part import Part
from services.orders.outbound.walk import walk
from services.orders.selling_ports import Sale, SaleFilter
from services.runtime.clock import from_micros
from services.runtime.database.port import Database, Row

# A seller's orders before an id, newest first, whatever came of them: a walk along the index on (seller_id, order_id),
# and then a look at each order. What went back of an only seller's order is the order's own sum: lines of older code
# don't know of what the ledger gave back by itself.
_SALES: Final = """
    SELECT l.order_id, o.state, o.currency, l.gross,
        CASE WHEN l.gross = o.total_minor THEN o.refunded_minor ELSE l.refunded END,
        l.fee_basis_points, o.fee_basis_points, o.created_at, o.updated_at
    FROM (
        SELECT order_id, SUM(quantity * unit_price_minor) AS gross,
            SUM(CASE WHEN refunded_minor > 0 THEN refunded_minor ELSE refunded_quantity * unit_price_minor END)
                AS refunded,
            MAX(fee_basis_points) AS fee_basis_points
        FROM order_lines INDEXED BY order_lines_by_seller
        WHERE seller_id = $1 AND order_id > $2 AND order_id < $3
        GROUP BY order_id ORDER BY order_id DESC LIMIT $4
    ) AS l CROSS JOIN orders AS o ON o.order_id = l.order_id
    ORDER BY l.order_id DESC
"""


class SqlSaleReads:
    """Fits `SellingReads`."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._database = database

    async def sales(self, sale_filter: SaleFilter) -> Part[Sale]:
        """Read sales, newest first."""
        states, currency = frozenset(sale_filter.states), sale_filter.currency
        async with self._database.snapshot() as connection:

            async def read_chunk(before: UUID, rows_max: int) -> Sequence[Row]:
                return await connection.fetch(_SALES, sale_filter.seller_id, sale_filter.after, before, rows_max)

            part = await walk(
                read_chunk,
                lambda row: row[1] in states and currency in {"", row[2]},
                before=sale_filter.before,
                rows_max=sale_filter.sales_max,
            )
        return Part(items=[_sale_of(row) for row in part.items], next_before=part.next_before)


def _sale_of(row: Row) -> Sale:
    order_id, state, currency, gross, refunded, line_fee, order_fee, created_at, updated_at = row
    return Sale(
        order_id=order_id,
        state=state,
        currency=currency,
        gross_minor=int(gross),
        refunded_minor=int(refunded),
        fee_basis_points=order_fee if line_fee is None else line_fee,
        placed_at=from_micros(created_at),
        moved_at=from_micros(updated_at),
    )
