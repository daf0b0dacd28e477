"""Show what is for sale."""

from services.orders.domain.product import Product
from services.orders.ports import Reads
from services.runtime.errors import NotFoundError


async def show_product(sku: str, *, reads: Reads) -> Product:
    """Show one product.

    Raises:
        NotFoundError: `product_not_found`.
    """
    product = await reads.product(sku)
    if product is None:
        raise NotFoundError("There is no such product.", reason="product_not_found")
    return product


async def show_products(*, after_sku: str, products_max: int, reads: Reads) -> list[Product]:
    """Show products in the order of their skus."""
    return await reads.products(after_sku=after_sku, products_max=products_max)
