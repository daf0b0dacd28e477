"""Change a product; orders keep the price and the title that they were placed with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from services.orders.domain.product import Product, check_product
from services.orders.ports import Store
from services.runtime.clock import Clock
from services.runtime.errors import ForbiddenError, NotFoundError


@dataclass(frozen=True, slots=True)
class ExpectedStock:
    """What the stock was when somebody decided on a change; `pieces` is None where nobody counted."""

    pieces: int | None


async def change_product(
    sku: str,
    changes: Mapping[str, Any],
    *,
    seller_id: UUID,
    store: Store,
    clock: Clock,
    expected_stock: ExpectedStock | None = None,
) -> Product:
    """Change the title, the price or the stock: what `changes` names, and where `expected_stock` is given, then only.

    Raises:
        InvalidArgumentError: Something about it makes no sense.
        NotFoundError: `product_not_found`.
        ForbiddenError: Another merchant sells it.
        StockChangedError: The stock isn't the expected one: nothing is changed.
    """
    async with store.transaction() as rows:
        product = await rows.products.find(sku)
        if product is None:
            raise NotFoundError("There is no such product.", reason="product_not_found")
        if product.seller_id != seller_id:
            raise ForbiddenError("Another merchant sells this product.")
        if expected_stock is not None:
            product.check_stock(expected_stock.pieces)
        product = check_product(replace(product, **changes, updated_at=clock.now()))
        await rows.products.save(product)
    return product
