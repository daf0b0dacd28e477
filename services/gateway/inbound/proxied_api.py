"""Which public paths lead to which service; `public_api.py` describes what the services answer there."""

from typing import Any

from litestar import HttpMethod, Request, get, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from services.gateway.inbound.proxy import Proxy
from services.runtime.http_auth import PUBLIC

METHODS = [HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE]
"""What may be asked of orders; it refuses by itself what it doesn't answer."""

ORDERS_PATHS = [
    "/api/v1/orders",
    "/api/v1/orders/{rest:path}",
    "/api/v1/products",
    "/api/v1/products/{rest:path}",
    "/api/v1/discrepancies",
    "/api/v1/sales",
    "/api/v1/sales/summary",
    "/api/v1/sellers/{seller_id:str}/fee",
    "/api/v1/webhooks",
    "/api/v1/webhooks/{rest:path}",
]
"""To orders."""

WALLET_PATHS = [
    "/api/v1/wallet/balance",
    "/api/v1/wallet/statement",
    "/api/v1/wallet/statement/proof",
    "/api/v1/wallet/accounts",
    "/api/v1/wallet/holds/{hold_id:str}",
    "/api/v1/wallet/records/{journal_sequence:str}",
]
"""To the ledger: what the caller's own wallet is and was."""

PROOF_PATHS = ["/api/v1/ledger/head", "/api/v1/ledger/keys", "/api/v1/ledger/consistency"]
"""To the ledger, for everybody: who checks a statement need not have a wallet."""

WITHDRAWALS_PATH = "/api/v1/wallet/withdrawals"
"""To the ledger: money out of the caller's own wallet."""


def proxied_routes(*, proxy: Proxy, orders_url: str, ledger_url: str) -> list[HTTPRouteHandler]:
    """Make the routes; each asks for a token, but those to the ledger's heads and keys."""

    @route(ORDERS_PATHS, http_method=METHODS, include_in_schema=False, status_code=200)
    async def orders(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, orders_url)

    @get(WALLET_PATHS, include_in_schema=False)
    async def wallet(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, ledger_url)

    @get(PROOF_PATHS, include_in_schema=False, opt=PUBLIC)
    async def proof(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, ledger_url)

    @post(WITHDRAWALS_PATH, include_in_schema=False)
    async def withdrawals(request: Request[Any, Any, Any]) -> ASGIApp:
        return await proxy.forward(request, ledger_url)

    return [orders, wallet, proof, withdrawals]
