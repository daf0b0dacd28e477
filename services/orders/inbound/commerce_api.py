"""All HTTP doors of commerce: products, orders and what became of them."""

from litestar.handlers import BaseRouteHandler

from services.orders.inbound.commerce import Commerce
from services.orders.inbound.discrepancies_api import discrepancy_routes
from services.orders.inbound.history_api import history_routes
from services.orders.inbound.orders_api import order_routes
from services.orders.inbound.products_api import product_routes
from services.orders.inbound.refunds_api import refund_routes
from services.orders.inbound.selling_api import selling_routes


def commerce_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    """Make the routes."""
    return [
        *order_routes(commerce),
        *refund_routes(commerce),
        *product_routes(commerce),
        *history_routes(commerce),
        *discrepancy_routes(commerce),
        *selling_routes(commerce),
    ]
