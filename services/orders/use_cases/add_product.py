"""Put a product on sale."""

from dataclasses import dataclass
from uuid import UUID

from services.money import Money
from services.orders.domain.product import Product, check_product
from services.orders.ports import Store
from services.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class AddProduct:
    """What is sold, by whom; `stock` None means that nobody counts."""

    seller_id: UUID
    sku: str
    title: str
    price: Money
    stock: int | None


async def add_product(wanted: AddProduct, *, store: Store, clock: Clock) -> Product:
    """Add a product.

    Raises:
        InvalidArgumentError: Something about it makes no sense.
        ConflictError: `sku_taken`: the platform has a product of this name.
    """
    now = clock.now()
    product = check_product(
        Product(
            sku=wanted.sku,
            title=wanted.title,
            price=wanted.price,
            seller_id=wanted.seller_id,
            stock=wanted.stock,
            created_at=now,
            updated_at=now,
        )
    )
    async with store.transaction() as rows:
        await rows.products.add(product)
    return product
