"""A client of the public API: what the demo, the replay and the tests speak to TradeFlow with.

One client is one caller: signed out at first, signed in after `login`. Calls that move money carry an Idempotency-Key
and are tried again with the same key, so an answer that was lost is not a second effect.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

import httpx
from msgspec import UNSET, UnsetType

from services.embedded.http_caller import HttpCaller, new_pool
from services.embedded.notifications import events_of, notifications_of
from services.embedded.public_api import (
    Balance,
    DepositReceipt,
    Notification,
    Order,
    Page,
    Product,
    Refund,
    StatementLine,
    Tokens,
    User,
    WalletEvent,
)
from services.embedded.retrying import ATTEMPTS_MAX
from services.money import Money


class TradeFlowClient:
    """One caller of a TradeFlow gateway.

    Clients that share `http` share its connections; only the client that made its own pool closes it.
    Each method raises the error classes of services.runtime.errors, rebuilt from the problem's `reason`.
    """

    def __init__(
        self, base_url: str, *, http: httpx.AsyncClient | None = None, attempts_max: int = ATTEMPTS_MAX
    ) -> None:
        """Prepare to call the gateway at `base_url`, for example http://127.0.0.1:8080."""
        self._caller = HttpCaller(base_url.rstrip("/"), http or new_pool(), attempts_max)
        self._owns_http = http is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, unless they are somebody else's."""
        if self._owns_http:
            await self._caller.http.aclose()

    def another(self) -> "TradeFlowClient":
        """Make a client for another caller on the same connections."""
        return TradeFlowClient(self._caller.base_url, http=self._caller.http, attempts_max=self._caller.attempts_max)

    @property
    def base_url(self) -> str:
        """Where the gateway is."""
        return self._caller.base_url

    @property
    def access_token(self) -> str:
        """The bearer token of the session; empty when signed out."""
        return self._caller.tokens.access_token if self._caller.tokens else ""

    async def register(self, email: str, password: str, role: str = "buyer") -> User:
        """Make a user with the role "buyer" or "merchant"; does not sign in."""
        body = {"email": email, "password": password, "role": role}
        return await self._caller.write("POST", "/auth/register", User, body)

    async def login(self, email: str, password: str) -> Tokens:
        """Sign in; later calls are made as this user and renew the session by themselves."""
        return await self._caller.sign_in_with("/auth/login", {"email": email, "password": password})

    async def exchange(self, id_token: str) -> Tokens:
        """Sign in with an ID token of another issuer; later calls are as after `login`."""
        return await self._caller.sign_in_with("/auth/exchange", {"id_token": id_token})

    async def logout(self) -> None:
        """End the session and revoke its access token."""
        if self._caller.tokens is not None:
            await self._caller.post("/auth/logout", {"refresh_token": self._caller.tokens.refresh_token})
            self._caller.sign_out()

    async def logout_everywhere(self) -> None:
        """End all sessions of the user, also those of other clients, and revoke all of their access tokens."""
        await self._caller.post("/auth/logout-everywhere")
        self._caller.sign_out()

    async def create_product(self, sku: str, title: str, price: Money, stock: int | None = None) -> Product:
        """Offer a product (role merchant). A lost first answer can make a retry end in `sku_taken`."""
        body = {"sku": sku, "title": title, "price": price, "stock": stock}
        return await self._caller.write("POST", "/api/v1/products", Product, body)

    async def patch_product(
        self,
        sku: str,
        *,
        title: str | UnsetType = UNSET,
        price: Money | UnsetType = UNSET,
        stock: int | UnsetType | None = UNSET,
        expected_stock: int | UnsetType | None = UNSET,
    ) -> Product:
        """Change what is named of an own product, while there are `expected_stock` of it or not at all.

        `stock=None` stops counting it. A lost first answer can make a retry end in `stock_changed`.
        """
        named = {"title": title, "price": price, "stock": stock, "expected_stock": expected_stock}
        body = {name: value for name, value in named.items() if value is not UNSET}
        return await self._caller.write("PATCH", f"/api/v1/products/{quote(sku, safe='')}", Product, body)

    async def get_product(self, sku: str) -> Product:
        """Read one product."""
        return await self._caller.get(f"/api/v1/products/{quote(sku, safe='')}", Product)

    async def list_products(self, *, cursor: str | None = None, limit: int | None = None) -> Page[Product]:
        """Read a page of all products."""
        return await self._caller.get("/api/v1/products", Page[Product], {"cursor": cursor, "limit": limit})

    async def place_order(
        self,
        quantities: Mapping[str, int],
        *,
        capture: str = "automatic",
        expected_total: Money | None = None,
        idempotency_key: str | None = None,
    ) -> Order:
        """Order quantities by sku, at `expected_total` or not at all; capture "manual" waits for `confirm`."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        body: dict[str, Any] = {"lines": lines, "capture": capture}
        if expected_total is not None:
            body["expected_total"] = expected_total
        return await self._caller.write_once("/api/v1/orders", Order, body, idempotency_key)

    async def get_order(self, order_id: UUID | str) -> Order:
        """Read an order of one's own (as buyer, seller or operator)."""
        return await self._caller.get(f"/api/v1/orders/{order_id}", Order)

    async def list_orders(
        self,
        *,
        state: str | None = None,
        role: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Page[Order]:
        """Read a page of own orders; `role="seller"` lists those with own lines."""
        query = {"state": state, "role": role, "cursor": cursor, "limit": limit}
        return await self._caller.get("/api/v1/orders", Page[Order], query)

    async def confirm(self, order_id: UUID | str, *, idempotency_key: str | None = None) -> Order:
        """Let a manually captured order go ahead."""
        return await self._caller.write_once(f"/api/v1/orders/{order_id}/confirm", Order, {}, idempotency_key)

    async def cancel(self, order_id: UUID | str, *, idempotency_key: str | None = None) -> Order:
        """Call an order off; after its capture this refunds all of it."""
        return await self._caller.write_once(f"/api/v1/orders/{order_id}/cancel", Order, {}, idempotency_key)

    async def refund(
        self,
        order_id: UUID | str,
        quantities: Mapping[int, int] | None = None,
        *,
        amount: Money | None = None,
        idempotency_key: str | None = None,
    ) -> Order:
        """Give money back for quantities by line number, or an amount without any piece, or all that is left."""
        body: dict[str, Any] = {} if amount is None else {"amount": amount}
        if quantities is not None:
            body["lines"] = [{"line_number": number, "quantity": quantity} for number, quantity in quantities.items()]
        return await self._caller.write_once(f"/api/v1/orders/{order_id}/refunds", Order, body, idempotency_key)

    async def list_refunds(
        self, order_id: UUID | str, *, cursor: str | None = None, limit: int | None = None
    ) -> Page[Refund]:
        """Read a page of what was given back of an order, newest first."""
        query = {"cursor": cursor, "limit": limit}
        return await self._caller.get(f"/api/v1/orders/{order_id}/refunds", Page[Refund], query)

    async def deposit(
        self, email: str, amount: Money, note: str = "", *, idempotency_key: str | None = None
    ) -> DepositReceipt:
        """Bring money into a user's wallet (role treasury)."""
        body: dict[str, Any] = {"email": email, "amount": amount}
        if note:
            body["note"] = note
        return await self._caller.write_once("/api/v1/wallet/deposits", DepositReceipt, body, idempotency_key)

    async def balance(self, currency: str) -> Balance:
        """Read one's own balance; a currency never used has zeros."""
        return await self._caller.get("/api/v1/wallet/balance", Balance, {"currency": currency})

    async def statement(
        self, currency: str, *, cursor: str | None = None, limit: int | None = None
    ) -> Page[StatementLine]:
        """Read a page of one's own statement, oldest first."""
        query = {"currency": currency, "cursor": cursor, "limit": limit}
        return await self._caller.get("/api/v1/wallet/statement", Page[StatementLine], query)

    def notifications(self, last_sequence: int | None = None) -> AsyncGenerator[Notification, None]:
        """Open one WebSocket and yield all that it says until it closes; `hello` comes first.

        With `last_sequence` the events after it come before the live ones, without it only live ones. Wrap it in
        `contextlib.aclosing` when leaving early.
        """
        return notifications_of(self.base_url, self._caller.token_of_now, last_sequence)

    def events(self, last_sequence: int | None = None) -> AsyncGenerator[WalletEvent, None]:
        """Yield each event of the wallet once, in order, connecting again as often as it takes.

        Raises:
            EventsLostError: The server no longer has the next event; reload and go on from its `last_sequence`.
        """
        return events_of(self.base_url, self._caller.token_of_now, last_sequence)
