"""A seller's sales: their own lines of each order, summed."""

from typing import Final

from services.orders.selling_ports import Sale, SaleFilter
from services.runtime.clock import from_micros
from services.runtime.database.port import Database

# By the index on (seller_id, order_id); a page is one walk along it. What went back of an only seller's order is the
# order's own sum: lines of older code don't know of what the ledger gave back by itself.
_SALES: Final = """
    SELECT l.order_id, o.state, o.currency, SUM(l.quantity * l.unit_price_minor),
        CASE WHEN SUM(l.quantity * l.unit_price_minor) = o.total_minor THEN o.refunded_minor ELSE
            SUM(CASE WHEN l.refunded_minor > 0 THEN l.refunded_minor ELSE l.refunded_quantity * l.unit_price_minor END)
        END,
        MAX(l.fee_basis_points), o.fee_basis_points, o.created_at, o.updated_at
    FROM order_lines l JOIN orders o ON o.order_id = l.order_id
    WHERE l.seller_id = $1 AND l.order_id < $2 AND l.order_id > $3 AND ($4 = '' OR o.currency = $4)
        AND o.state IN ($in)
    GROUP BY l.order_id, o.state, o.currency, o.total_minor, o.refunded_minor, o.fee_basis_points, o.created_at,
        o.updated_at
    ORDER BY l.order_id DESC LIMIT $5
"""


class SqlSaleReads:
    """Fits `SellingReads`."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._database = database

    async def sales(self, sale_filter: SaleFilter) -> list[Sale]:
        """Read sales, newest first."""
        async with self._database.snapshot() as connection:
            rows = await connection.fetch_in(
                _SALES,
                list(sale_filter.states),
                sale_filter.seller_id,
                sale_filter.before,
                sale_filter.after,
                sale_filter.currency,
                sale_filter.sales_max,
            )
        return [
            Sale(
                order_id=order_id,
                state=state,
                currency=currency,
                gross_minor=int(gross),
                refunded_minor=int(refunded),
                fee_basis_points=order_fee if line_fee is None else line_fee,
                placed_at=from_micros(created_at),
                moved_at=from_micros(updated_at),
            )
            for order_id, state, currency, gross, refunded, line_fee, order_fee, created_at, updated_at in rows
        ]
