"""One row of a table of bad input: a request, and what it is answered."""

import json
from dataclasses import dataclass, field
from typing import Any

LEFT_OUT: Any = object()
"""No body at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A request that must be refused.

    `path` and texts in `headers` may hold {names} of what the test's world has made. `body` is sent as JSON, bytes as
    they are. `caller` is who sends it; None sends no token.
    """

    name: str
    method: str = "POST"
    path: str
    body: Any = LEFT_OUT
    headers: dict[str, str] = field(default_factory=dict)
    caller: str | None = "buyer"
    keyed: bool = True
    status: int
    reason: str

    def __str__(self) -> str:
        return self.name

    def content(self) -> bytes | None:
        """Spell the body."""
        if self.body is LEFT_OUT:
            return None
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def order(name: str, body: Any, status: int = 400, reason: str = "validation_failed", **changed: Any) -> Bad:
    """Place an order that can't be."""
    return Bad(name=f"order: {name}", path="/api/v1/orders", body=body, status=status, reason=reason, **changed)


def quantity(name: str, quantity: Any, reason: str) -> Bad:
    """Order so much of something; bytes go into the JSON as they are."""
    text = quantity if isinstance(quantity, bytes) else json.dumps(quantity).encode()
    body = b'{"lines": [{"sku": "{sku}", "quantity": %s}]}' % text
    return order(f"quantity {name}", body, reason=reason)


def product(name: str, changed: dict[str, Any], reason: str = "validation_failed", status: int = 400) -> Bad:
    """Offer a product with something wrong in it."""
    good = {"sku": "good-sku", "title": "Thing", "price": {"amount_minor": 100, "currency": "EUR"}, "stock": 1}
    return Bad(
        name=f"product: {name}",
        path="/api/v1/products",
        body=good | changed,
        caller="merchant",
        status=status,
        reason=reason,
    )


def deposit(name: str, changed: dict[str, Any], reason: str = "validation_failed", status: int = 400) -> Bad:
    """Deposit with something wrong in it."""
    good: dict[str, Any] = {"email": "{buyer_email}", "amount": {"amount_minor": 100, "currency": "EUR"}}
    return Bad(
        name=f"deposit: {name}",
        path="/api/v1/wallet/deposits",
        body=good | changed,
        caller="treasury",
        status=status,
        reason=reason,
    )


def euros(amount_minor: Any) -> dict[str, Any]:
    """Name an amount that need not be one."""
    return {"amount_minor": amount_minor, "currency": "EUR"}


def read(name: str, path: str, status: int = 400, reason: str = "validation_failed", **changed: Any) -> Bad:
    """Read what can't be read."""
    return Bad(name=f"read: {name}", method="GET", path=path, keyed=False, status=status, reason=reason, **changed)


def with_token(name: str, token: str, reason: str, status: int = 401) -> Bad:
    """Read one's balance with a token that is no good."""
    return Bad(
        name=f"token: {name}",
        method="GET",
        path="/api/v1/wallet/balance?currency=EUR",
        headers={"Authorization": token},
        caller=None,
        keyed=False,
        status=status,
        reason=reason,
    )


def register(name: str, body: Any, status: int = 400, reason: str = "validation_failed", **changed: Any) -> Bad:
    """Sign up with something wrong."""
    return Bad(
        name=f"register: {name}",
        path="/auth/register",
        body=body,
        caller=None,
        keyed=False,
        status=status,
        reason=reason,
        **changed,
    )
