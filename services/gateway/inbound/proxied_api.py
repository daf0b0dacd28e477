"""Which public paths lead to which service; `public_api.py` describes what the services answer there."""

from typing import Any

from litestar import HttpMethod, Request, get, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from services.gateway.inbound.proxy import Proxy

METHODS = [HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE]
"""What may be asked of orders; it refuses by itself what it doesn't answer."""

ORDERS_PATHS = [
    "/api/v1/orders",
    "/api/v1/orders/{rest:path}",
    "/api/v1/products",
    "/api/v1/products/{rest:path}",
]
"""To orders."""

WALLET_PATHS = ["/api/v1/wallet/balance", "/api/v1/wallet/statement"]
"""To the ledger, read only: money moves by deposits and orders."""


def proxied_routes(*, proxy: Proxy, orders_url: str, ledger_url: str) -> list[HTTPRouteHandler]:
    """Make the routes; each asks for a token."""

    @route(ORDERS_PATHS, http_method=METHODS, include_in_schema=False, status_code=200)
    async def orders(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, orders_url)

    @get(WALLET_PATHS, include_in_schema=False)
    async def wallet(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, ledger_url)

    return [orders, wallet]
