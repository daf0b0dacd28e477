"""What is only read: each answer comes from one state of the database, without locks."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final
from uuid import UUID

from services.orders.domain.order import Order
from services.orders.domain.product import Product
from services.orders.domain.refund import Refund
from services.orders.list_part import Part
from services.orders.outbound.order_mapping import Record, order_of, product_of, refund_of
from services.orders.outbound.tables import bind
from services.orders.outbound.walk import walk
from services.orders.ports import OrderFilter, RefundFilter
from services.runtime.database.port import Connection, Database, Row

NEWER_THAN_ALL: Final = UUID(int=2**128 - 1)
"""Where a list that begins with the newest begins."""

# Which orders have a line of this seller: a walk along the index, then the state of each.
_ORDERS_OF_SELLER: Final = """
    SELECT l.order_id, o.state
    FROM (
        SELECT order_id FROM order_lines INDEXED BY order_lines_by_seller
        WHERE seller_id = $1 AND order_id < $2
        GROUP BY order_id ORDER BY order_id DESC LIMIT $3
    ) AS l CROSS JOIN orders AS o ON o.order_id = l.order_id
    ORDER BY l.order_id DESC
"""

# Which orders somebody bought.
_ORDERS_OF_BUYER: Final = """
    SELECT order_id, state FROM orders INDEXED BY orders_by_buyer WHERE buyer_id = $1 AND order_id < $2
    ORDER BY order_id DESC LIMIT $3
"""

LINES_A_PAGE_MAX: Final = 2_000
"""Lines of one page: orders have up to a thousand, and to make values and JSON of 200 such takes seconds, for which
everybody else would wait. A page has one order, or refund, at least."""

# How long orders, or refunds, are: by the primary key.
_LINES_OF_ORDERS: Final = "SELECT order_id, COUNT(*) FROM order_lines WHERE order_id IN ($in) GROUP BY order_id"
_LINES_OF_REFUNDS: Final = "SELECT refund_id, COUNT(*) FROM refund_lines WHERE refund_id IN ($in) GROUP BY refund_id"

# Which refunds of an order there are: an index look-up.
_REFUNDS: Final = """
    SELECT refund_id FROM refunds WHERE order_id = $1 AND refund_id < $2 ORDER BY refund_id DESC LIMIT $3
"""

# Those of them that give back something of this seller's lines.
_REFUNDS_OF_SELLER: Final = """
    SELECT DISTINCT r.refund_id FROM refunds r JOIN refund_lines l ON l.refund_id = r.refund_id
    WHERE r.order_id = $1 AND r.refund_id < $2 AND l.seller_id = $4
    ORDER BY r.refund_id DESC LIMIT $3
"""


class SqlReads:
    """Fits `Reads`."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._database = database
        self._tables = bind(database.engine)

    async def order(self, order_id: UUID) -> Order | None:
        """Read an order."""
        async with self._database.snapshot():
            orders = await self._orders_by_id([order_id])
        return orders[0] if orders else None

    async def orders(self, order_filter: OrderFilter) -> Part[Order]:
        """Read orders, newest first."""
        async with self._database.snapshot() as connection:
            found = await _found(connection, order_filter)
            kept = await _within_a_page(connection, _LINES_OF_ORDERS, [row[0] for row in found.items])
            next_before = found.next_before if len(kept) == len(found.items) else kept[-1]
            return Part(items=await self._orders_by_id(kept), next_before=next_before)

    async def product(self, sku: str) -> Product | None:
        """Read a product."""
        products = self._tables.products
        rows = await products.select().where(products.sku == sku.encode())
        return product_of(rows[0]) if rows else None

    async def products(self, *, after_sku: str, products_max: int) -> list[Product]:
        """Read products in the order of their skus."""
        products = self._tables.products
        query = products.select().where(products.sku > after_sku.encode())
        return [product_of(row) for row in await query.order_by(products.sku).limit(products_max)]

    async def refunds(self, refund_filter: RefundFilter) -> Part[Refund]:
        """Read an order's refunds with all of their lines, newest first."""
        seller_id, before = refund_filter.seller_id, refund_filter.before or NEWER_THAN_ALL
        arguments = (refund_filter.order_id, before, refund_filter.refunds_max)
        async with self._database.snapshot() as connection:
            if seller_id is None:
                rows = await connection.fetch(_REFUNDS, *arguments)
            else:
                rows = await connection.fetch(_REFUNDS_OF_SELLER, *arguments, seller_id)
            kept = await _within_a_page(connection, _LINES_OF_REFUNDS, [row[0] for row in rows])
            goes_on = len(kept) < len(rows) or len(kept) == refund_filter.refunds_max
            return Part(items=await self._refunds_by_id(kept), next_before=kept[-1] if goes_on else None)

    async def _orders_by_id(self, order_ids: Sequence[UUID]) -> list[Order]:
        """Read orders with their lines, in the order of the ids."""
        if not order_ids:
            return []
        orders, lines = self._tables.orders, self._tables.order_lines
        rows = await orders.select().where(orders.order_id.is_in(list(order_ids)))
        line_rows = (
            await lines.select()
            .where(lines.order_id.is_in(list(order_ids)))
            .order_by(lines.order_id, lines.line_number)
        )
        lines_of = _grouped(line_rows, "order_id")
        found = {row["order_id"]: order_of(row, lines_of[row["order_id"]]) for row in rows}
        return [found[order_id] for order_id in order_ids if order_id in found]

    async def _refunds_by_id(self, refund_ids: Sequence[UUID]) -> list[Refund]:
        """Read refunds with their lines, in the order of the ids."""
        if not refund_ids:
            return []
        refunds, lines = self._tables.refunds, self._tables.refund_lines
        rows = await refunds.select().where(refunds.refund_id.is_in(list(refund_ids)))
        line_rows = (
            await lines.select()
            .where(lines.refund_id.is_in(list(refund_ids)))
            .order_by(lines.refund_id, lines.line_number)
        )
        lines_of = _grouped(line_rows, "refund_id")
        found = {row["refund_id"]: refund_of(row, lines_of[row["refund_id"]]) for row in rows}
        return [found[refund_id] for refund_id in refund_ids]


async def _found(connection: Connection, order_filter: OrderFilter) -> Part[Row]:
    """Find the orders of a page: ids and states."""
    whose = order_filter.buyer_id if order_filter.seller_id is None else order_filter.seller_id
    sql = _ORDERS_OF_BUYER if order_filter.seller_id is None else _ORDERS_OF_SELLER
    state = order_filter.state and order_filter.state.value

    async def read_chunk(before: UUID, rows_max: int) -> Sequence[Row]:
        return await connection.fetch(sql, whose, before, rows_max)

    return await walk(
        read_chunk,
        lambda row: state in {None, row[1]},
        before=order_filter.before or NEWER_THAN_ALL,
        rows_max=order_filter.orders_max,
    )


async def _within_a_page(connection: Connection, counting_sql: str, ids: Sequence[UUID]) -> list[UUID]:
    """Take the first ones that have no more lines than a page, and one at least."""
    lines_of: dict[UUID, int] = dict(await connection.fetch_in(counting_sql, ids))
    kept: list[UUID] = []
    room = LINES_A_PAGE_MAX
    for one in ids:
        room -= lines_of.get(one, 0)
        if kept and room < 0:
            break
        kept.append(one)
    return kept


def _grouped(rows: Iterable[Record], column: str) -> dict[UUID, list[Record]]:
    """Put the rows of each id together; they come in the order of the ids."""
    return {key: list(group) for key, group in groupby(rows, key=itemgetter(column))}
