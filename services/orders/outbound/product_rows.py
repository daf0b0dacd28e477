"""Products in a transaction, locked in the order of their skus."""

from collections.abc import Mapping, Sequence
from typing import Final

from services.orders.domain.product import Product
from services.orders.outbound.order_mapping import product_of
from services.orders.outbound.tables import Tables
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection, DuplicateKeyError
from services.runtime.errors import ConflictError

_COLUMNS: Final = (
    "sku",
    "title",
    "price_minor",
    "currency",
    "seller_id",
    "stock",
    "created_at",
    "updated_at",
    "fee_basis_points",
)

# Locks the products, and not the fees of their sellers, which are read beside them. Those who lock several do so in the
# order of the skus, so that nobody waits in a circle.
_LOCK_PRODUCTS: Final = """
    SELECT sku, title, price_minor, currency, seller_id, stock, created_at, updated_at,
        (SELECT f.fee_basis_points FROM seller_fees f WHERE f.seller_id = products.seller_id)
    FROM products WHERE sku IN ($in) ORDER BY sku FOR UPDATE
"""

# A product that became untracked meanwhile keeps no count.
_MOVE_STOCK: Final = "UPDATE products SET stock = stock + $1 WHERE sku = $2 AND stock IS NOT NULL"


class SqlProductRows:
    """Fits `ProductRows`."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        """Work in one transaction."""
        self._connection = connection
        self._tables = tables

    async def find(self, sku: str) -> Product | None:
        """Lock and read a product."""
        return (await self.find_all([sku])).get(sku)

    async def find_all(self, skus: Sequence[str]) -> dict[str, Product]:
        """Lock and read products, in the order of their skus; unknown ones are left out."""
        rows = await self._connection.fetch_in(_LOCK_PRODUCTS, sorted(sku.encode() for sku in skus))
        products = [product_of(dict(zip(_COLUMNS, row, strict=True))) for row in rows]
        return {product.sku: product for product in products}

    async def add(self, product: Product) -> None:
        """Write a new product.

        Raises:
            ConflictError: `sku_taken`.
        """
        products = self._tables.products
        row = products(
            sku=product.sku.encode(),
            title=product.title,
            price_minor=product.price.amount_minor,
            currency=product.price.currency,
            seller_id=product.seller_id,
            stock=product.stock,
            created_at=to_micros(product.created_at),
            updated_at=to_micros(product.updated_at),
        )
        try:
            await products.insert(row)
        except DuplicateKeyError as error:
            raise ConflictError("The platform has a product of this name.", reason="sku_taken") from error

    async def save(self, product: Product) -> None:
        """Write a product that this transaction has locked."""
        products = self._tables.products
        await products.update(
            {
                products.title: product.title,
                products.price_minor: product.price.amount_minor,
                products.currency: product.price.currency,
                products.stock: product.stock,
                products.updated_at: to_micros(product.updated_at),
            }
        ).where(products.sku == product.sku.encode())

    async def move_stock(self, deltas: Mapping[str, int]) -> None:
        """Add to (or take from) what is left of counted products, in the order of their skus."""
        await self._connection.write_at_commit(_MOVE_STOCK, [(deltas[sku], sku.encode()) for sku in sorted(deltas)])
