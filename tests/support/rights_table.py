"""Whom each door of the three services lets in, by its method and path, or its gRPC method.

A door that lets somebody in may still refuse: an order, a wallet or an endpoint of somebody else is no right of a role.
"""

from collections.abc import Mapping
from typing import Final

from tests.support.callers import USERS

EVERYBODY: Final = frozenset({"everybody"})
"""No token is asked for, and a bad one is no hindrance."""

PEOPLE: Final = frozenset(USERS)
BUYERS: Final = frozenset({"buyer", "merchant"})
MERCHANTS: Final = frozenset({"merchant"})
OPERATORS: Final = frozenset({"operator"})
TREASURY: Final = frozenset({"treasury"})
WATCHERS: Final = frozenset({"treasury", "operator"})

Rules = Mapping[str, frozenset[str]]

_ORDERS: Final[Rules] = {
    "GET /api/v1/discrepancies": OPERATORS,
    "GET /api/v1/orders": PEOPLE,
    "POST /api/v1/orders": BUYERS,
    "GET /api/v1/orders/{order_id}": PEOPLE,
    "POST /api/v1/orders/{order_id}/cancel": PEOPLE,
    "POST /api/v1/orders/{order_id}/confirm": PEOPLE,
    "GET /api/v1/orders/{order_id}/history": PEOPLE,
    "GET /api/v1/orders/{order_id}/refunds": PEOPLE,
    "POST /api/v1/orders/{order_id}/refunds": PEOPLE,
    "GET /api/v1/products": PEOPLE,
    "POST /api/v1/products": MERCHANTS,
    "GET /api/v1/products/{sku}": PEOPLE,
    "PATCH /api/v1/products/{sku}": MERCHANTS,
    "GET /api/v1/sales": MERCHANTS,
    "GET /api/v1/sales/summary": MERCHANTS,
    "GET /api/v1/sellers/{seller_id}/fee": PEOPLE,
    "PUT /api/v1/sellers/{seller_id}/fee": OPERATORS,
    "GET /api/v1/webhooks": MERCHANTS,
    "POST /api/v1/webhooks": MERCHANTS,
    "DELETE /api/v1/webhooks/{endpoint_id}": MERCHANTS,
    "GET /api/v1/webhooks/{endpoint_id}/deliveries": MERCHANTS,
    "POST /api/v1/webhooks/{endpoint_id}/redrive": MERCHANTS,
    "POST /api/v1/webhooks/{endpoint_id}/secret": MERCHANTS,
}

_WALLET: Final[Rules] = {
    "GET /api/v1/ledger/consistency": EVERYBODY,
    "GET /api/v1/ledger/head": EVERYBODY,
    "GET /api/v1/ledger/keys": EVERYBODY,
    "GET /api/v1/wallet/accounts": PEOPLE,
    "GET /api/v1/wallet/balance": PEOPLE,
    "GET /api/v1/wallet/holds/{hold_id}": PEOPLE,
    "GET /api/v1/wallet/records/{journal_sequence}": PEOPLE,
    "GET /api/v1/wallet/statement": PEOPLE,
    "GET /api/v1/wallet/statement/proof": PEOPLE,
    "POST /api/v1/wallet/withdrawals": PEOPLE,
}

HTTP: Final[Mapping[str, Rules]] = {
    "orders": _ORDERS,
    "ledger": {
        **_WALLET,
        "GET /api/v1/accounts": WATCHERS,
        "GET /api/v1/holds/{hold_id}": WATCHERS,
        "GET /api/v1/records": WATCHERS,
        "GET /api/v1/records/{journal_sequence}": WATCHERS,
        "POST /api/v1/records/{journal_sequence}/reversals": TREASURY,
        "POST /api/v1/transfers": TREASURY,
        "POST /api/v1/wallets/{wallet_id}/accounts": TREASURY,
        "GET /api/v1/wallets/{wallet_id}/balance": WATCHERS,
        "POST /api/v1/wallets/{wallet_id}/deposits": TREASURY,
        "POST /api/v1/wallets/{wallet_id}/limits": TREASURY,
        "GET /api/v1/wallets/{wallet_id}/statement": WATCHERS,
        "POST /api/v1/wallets/{wallet_id}/withdrawals": TREASURY,
    },
    "gateway": {
        **_ORDERS,
        **_WALLET,
        "GET /.well-known/jwks.json": EVERYBODY,
        "GET /.well-known/openid-configuration": EVERYBODY,
        "GET /api/v1/operations": OPERATORS,
        "POST /api/v1/wallet/deposits": TREASURY,
        "GET /api/v1/wallet/events": PEOPLE,
        "POST /auth/exchange": EVERYBODY,
        "POST /auth/login": EVERYBODY,
        "POST /auth/logout": PEOPLE,
        "POST /auth/logout-everywhere": PEOPLE,
        "POST /auth/password-reset": EVERYBODY,
        "POST /auth/password-reset/confirm": EVERYBODY,
        "POST /auth/refresh": EVERYBODY,
        "POST /auth/register": EVERYBODY,
        "POST /auth/ticket": PEOPLE,
        "POST /oauth/token": frozenset(),  # a client's id and secret are asked for, and no token helps
    },
}
"""What each service's document describes, by the service."""

GATEWAYS: Final = frozenset({"gateway for orders"})
"""Who may ask for users and sessions."""

LEDGERS_CALLERS: Final = frozenset(
    {"gateway for the ledger", "orders for the ledger", "treasury for the ledger", "stranger for the ledger"}
)
"""Which services pass the ledger's door at all; who may send a command is looked at once it can be read."""

GRPC: Final[Mapping[str, frozenset[str]]] = {
    "tradeflow.orders.v1.IdentityService": GATEWAYS,
    "tradeflow.ledger.v1.LedgerService": LEDGERS_CALLERS,
    "tradeflow.ledger.v1.ProofService": LEDGERS_CALLERS,
    "grpc.health.v1.Health": EVERYBODY,
    "grpc.reflection.v1alpha.ServerReflection": EVERYBODY,
}
"""By the service's full name, for all of its methods."""
