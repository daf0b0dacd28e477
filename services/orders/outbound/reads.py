"""What is only read: each answer comes from one state of the database, without locks."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final
from uuid import UUID

from services.orders.domain.order import Order
from services.orders.domain.product import Product
from services.orders.outbound.order_mapping import order_of, product_of
from services.orders.outbound.tables import bind
from services.orders.ports import OrderFilter
from services.runtime.database.port import Connection, Database

NEWER_THAN_ALL: Final = UUID(int=2**128 - 1)
"""Where a list that begins with the newest begins."""

# Which orders have a line of this seller: an index look-up, then the state of each.
_ORDERS_OF_SELLER: Final = """
    SELECT DISTINCT l.order_id FROM order_lines l JOIN orders o ON o.order_id = l.order_id
    WHERE l.seller_id = $1 AND l.order_id < $2 AND ($3 = '' OR o.state = $3)
    ORDER BY l.order_id DESC LIMIT $4
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

    async def orders(self, order_filter: OrderFilter) -> list[Order]:
        """Read orders, newest first."""
        async with self._database.snapshot() as connection:
            if order_filter.seller_id is not None:
                order_ids = await self._ids_of_seller(connection, order_filter)
            else:
                order_ids = await self._ids_of_buyer(order_filter)
            return await self._orders_by_id(order_ids)

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

    async def _ids_of_buyer(self, order_filter: OrderFilter) -> list[UUID]:
        orders = self._tables.orders
        query = orders.select(orders.order_id).where(
            orders.buyer_id == order_filter.buyer_id, orders.order_id < (order_filter.before or NEWER_THAN_ALL)
        )
        if order_filter.state is not None:
            query = query.where(orders.state == order_filter.state.value)
        rows = await query.order_by(orders.order_id, ascending=False).limit(order_filter.orders_max)
        return [row["order_id"] for row in rows]

    async def _ids_of_seller(self, connection: Connection, order_filter: OrderFilter) -> list[UUID]:
        rows = await connection.fetch(
            _ORDERS_OF_SELLER,
            order_filter.seller_id,
            order_filter.before or NEWER_THAN_ALL,
            order_filter.state.value if order_filter.state else "",
            order_filter.orders_max,
        )
        return [row[0] for row in rows]

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
        lines_of = {order_id: list(group) for order_id, group in groupby(line_rows, key=itemgetter("order_id"))}
        found = {row["order_id"]: order_of(row, lines_of[row["order_id"]]) for row in rows}
        return [found[order_id] for order_id in order_ids if order_id in found]
