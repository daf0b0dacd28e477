"""Change a product; orders keep the price and the title that they were placed with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from services.orders.domain.product import Product, check_product
from services.orders.ports import Store
from services.runtime.clock import Clock
from services.runtime.errors import ForbiddenError, NotFoundError


async def change_product(
    sku: str, changes: Mapping[str, Any], *, seller_id: UUID, store: Store, clock: Clock
) -> Product:
    """Change the title, the price or the stock: what `changes` names.

    Raises:
        InvalidArgumentError: Something about it makes no sense.
        NotFoundError: `product_not_found`.
        ForbiddenError: Another merchant sells it.
    """
    async with store.transaction() as rows:
        product = await rows.products.find(sku)
        if product is None:
            raise NotFoundError("There is no such product.", reason="product_not_found")
        if product.seller_id != seller_id:
            raise ForbiddenError("Another merchant sells this product.")
        product = check_product(replace(product, **changes, updated_at=clock.now()))
        await rows.products.save(product)
    return product
