"""The HTTP door for products: everybody who is signed in reads, merchants write."""

from litestar import get, patch, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from services.orders.inbound.commerce import Commerce
from services.orders.inbound.http_bodies import (
    NewProductBody,
    PageBody,
    ProductBody,
    ProductChangesBody,
    product_body,
)
from services.orders.inbound.requests import ITEMS_A_PAGE, Cursor, Limit, actor_of, sku_cursor_of
from services.orders.use_cases.add_product import AddProduct, add_product
from services.orders.use_cases.change_product import ExpectedStock, change_product
from services.orders.use_cases.show_products import show_product, show_products
from services.runtime.http_auth import Caller, require_roles

TAGS = ["products"]
"""The group in the API's description."""

MERCHANT_ROLE = "merchant"
"""Who writes products."""


def product_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    """Make the routes."""

    @get("/api/v1/products", operation_id="listProducts", tags=TAGS)
    async def list_products(cursor: Cursor = "", limit: Limit = ITEMS_A_PAGE) -> PageBody[ProductBody]:
        """List products in the order of their skus."""
        products = await show_products(after_sku=sku_cursor_of(cursor), products_max=limit, reads=commerce.reads)
        next_cursor = products[-1].sku if len(products) == limit else None
        return PageBody(items=[product_body(product) for product in products], next_cursor=next_cursor)

    @get("/api/v1/products/{sku:str}", operation_id="getProduct", tags=TAGS)
    async def get_product(sku: FromPath[str]) -> ProductBody:
        """Show a product. 404 product_not_found."""
        return product_body(await show_product(sku, reads=commerce.reads))

    @post("/api/v1/products", operation_id="addProduct", tags=TAGS, guards=[require_roles(MERCHANT_ROLE)])
    async def add(principal: Caller, data: JSONBody[NewProductBody]) -> ProductBody:
        """Put a product on sale. 409 sku_taken."""
        wanted = AddProduct(
            seller_id=actor_of(principal).user_id,
            sku=data.sku,
            title=data.title,
            price=data.price.to_money(),
            stock=data.stock,
        )
        return product_body(await add_product(wanted, store=commerce.store, clock=commerce.clock))

    @patch("/api/v1/products/{sku:str}", operation_id="changeProduct", tags=TAGS, guards=[require_roles(MERCHANT_ROLE)])
    async def change(principal: Caller, sku: FromPath[str], data: JSONBody[ProductChangesBody]) -> ProductBody:
        """Change your product; orders keep the price and the title that they were placed with. 422 stock_changed."""
        product = await change_product(
            sku,
            _changes(data),
            seller_id=actor_of(principal).user_id,
            store=commerce.store,
            clock=commerce.clock,
            expected_stock=None if data.expected_stock is UNSET else ExpectedStock(data.expected_stock),
        )
        return product_body(product)

    return [list_products, get_product, add, change]


def _changes(body: ProductChangesBody) -> dict[str, object]:
    changes: dict[str, object] = {}
    if body.title is not UNSET:
        changes["title"] = body.title
    if body.price is not UNSET:
        changes["price"] = body.price.to_money()
    if body.stock is not UNSET:
        changes["stock"] = body.stock
    return changes
