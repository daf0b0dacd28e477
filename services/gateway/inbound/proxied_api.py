"""Which public paths lead to which service; `public_api.py` describes what the services answer there."""

from typing import Any

from litestar import HttpMethod, Request, get, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from services.gateway.inbound.proxy import Proxy
from services.runtime.http_auth import PUBLIC
from services.runtime.jwt import TokenVerifier, bearer_token

WRITING_METHODS = [HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE]
"""Every method that a service may answer; it refuses the others by itself."""

ORDERS_PATHS = ["/api/v1/orders", "/api/v1/orders/{rest:path}"]
"""To orders, with a token."""

PRODUCTS_PATHS = ["/api/v1/products", "/api/v1/products/{rest:path}"]
"""To orders; reading needs no token, so that a shop window can be looked at."""

WALLET_PATHS = ["/api/v1/wallet/balance", "/api/v1/wallet/statement"]
"""To the ledger, with a token."""


def proxied_routes(
    *, proxy: Proxy, verifier: TokenVerifier, orders_url: str, ledger_url: str
) -> list[HTTPRouteHandler]:
    """Make the routes."""

    @route(ORDERS_PATHS, http_method=[HttpMethod.GET, *WRITING_METHODS], include_in_schema=False, status_code=200)
    async def orders(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, orders_url)

    @get(PRODUCTS_PATHS, opt=PUBLIC, include_in_schema=False)
    async def read_products(request: Request[Any, Any, Any]) -> ASGIApp:
        authorization = request.headers.get("authorization")
        if authorization is not None:
            await verifier.verify(bearer_token(authorization))  # a token that is shown has to be good
        return await proxy.forward(request, orders_url)

    @route(PRODUCTS_PATHS, http_method=WRITING_METHODS, include_in_schema=False, status_code=200)
    async def write_products(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, orders_url)

    @get(WALLET_PATHS, include_in_schema=False)
    async def wallet(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, ledger_url)

    return [orders, read_products, write_products, wallet]
