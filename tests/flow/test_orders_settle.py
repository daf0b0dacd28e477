"""Orders and the ledger as two real services: gRPC, events, two databases, one broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr

from services.ledger.settings import LedgerSettings
from services.ledger.wiring import running as running_ledger
from services.orders.settings import OrdersSettings
from services.orders.wiring import running as running_orders
from tests.support.issuer import Issuer, running_issuer
from tests.support.own_task import in_own_task

SECONDS_MAX = 60.0
"""How long a test waits for events to arrive."""


@dataclass(kw_only=True)
class Market:
    """Orders twice on one database, the ledger, a rich buyer, two merchants: 10 tea at 5.00, and cups at 0.99."""

    issuer: Issuer
    orders: httpx.AsyncClient
    replica: httpx.AsyncClient
    ledger: httpx.AsyncClient
    buyer_id: UUID
    merchant_id: UUID
    potter_id: UUID

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user_id: UUID | None = None,
        role: str = "buyer",
        key: str | None = None,
    ) -> dict[str, Any]:
        token = self.issuer.user_token(user_id or self.buyer_id, (role,))
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or str(uuid4())}
        http = self.ledger if path.startswith("/api/v1/wallet") else self.orders
        response = await http.request(method, path, json=body, headers=headers)
        answer: dict[str, Any] = response.json()
        replayed = response.headers.get("idempotency-replayed", "false")
        return {**answer, "http_status": response.status_code, "replayed": replayed}

    def at_replica(self) -> "Market":
        return replace(self, orders=self.replica)

    async def place(self, *, capture: str = "automatic", tea: int = 2) -> dict[str, Any]:
        lines = [{"sku": "tea", "quantity": tea}, {"sku": "cup", "quantity": 1}]
        return await self.call("POST", "/api/v1/orders", {"lines": lines, "capture": capture})

    async def order(self, order_id: str) -> dict[str, Any]:
        return await self.call("GET", f"/api/v1/orders/{order_id}")

    async def available_minor(self, user_id: UUID) -> int:
        balance = await self.call("GET", "/api/v1/wallet/balance?currency=EUR", user_id=user_id)
        return int(balance["available"]["amount_minor"])

    async def stock(self) -> int:
        return int((await self.call("GET", "/api/v1/products/tea"))["stock"])

    async def until_state(self, order_id: str, state: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            order = await self.order(order_id)
            return order if order["state"] == state else None

        return await eventually(look, f"{order_id} never became {state}")


async def eventually(look: Callable[[], Awaitable[dict[str, Any] | None]], complaint: str) -> dict[str, Any]:
    give_up_at = time.monotonic() + SECONDS_MAX
    while time.monotonic() < give_up_at:
        found = await look()
        if found is not None:
            return found
        await asyncio.sleep(0.02)
    pytest.fail(complaint)


@asynccontextmanager
async def open_market(folder: Path, *, order_lifetime_seconds: int = 900) -> AsyncIterator[Market]:
    async with running_issuer() as issuer:
        trust: dict[str, Any] = {
            "issuer": issuer.issuer,
            "jwks_url": issuer.jwks_url,
            "broker_url": f"sqlite:///{folder}/broker.db",
        }
        ledger_settings = LedgerSettings(
            database_url=f"sqlite:///{folder}/ledger.db", http_port=0, grpc_port=0, **trust
        )
        async with running_ledger(ledger_settings) as ledger:
            orders_settings = OrdersSettings(
                database_url=f"sqlite:///{folder}/orders.db",
                ledger_grpc_target=ledger.grpc_target,
                token_url=issuer.token_url,
                client_secret=SecretStr("orders' own secret"),
                http_port=0,
                grpc_port=0,
                order_lifetime_seconds=order_lifetime_seconds,
                finish_every_seconds=0.1,
                patience_seconds=0.5,
                **trust,
            )
            async with (
                running_orders(orders_settings) as orders,
                running_orders(orders_settings) as replica,
                httpx.AsyncClient(base_url=orders.http_url, trust_env=False, timeout=20) as orders_http,
                httpx.AsyncClient(base_url=replica.http_url, trust_env=False, timeout=20) as replica_http,
                httpx.AsyncClient(base_url=ledger.http_url, trust_env=False, timeout=20) as ledger_http,
            ):
                market = Market(
                    issuer=issuer,
                    orders=orders_http,
                    replica=replica_http,
                    ledger=ledger_http,
                    buyer_id=uuid4(),
                    merchant_id=uuid4(),
                    potter_id=uuid4(),
                )
                await _stock_up(market)
                yield market


async def _stock_up(market: Market) -> None:
    deposit = {"amount": {"amount_minor": 10_000, "currency": "EUR"}}
    path = f"/api/v1/wallets/{market.buyer_id}/deposits"
    deposited = await market.call("POST", path, deposit, user_id=uuid4(), role="treasury")
    assert deposited["http_status"] == 201, deposited
    for sku, price, stock, seller_id in (("tea", 500, 10, market.merchant_id), ("cup", 99, None, market.potter_id)):
        product = {
            "sku": sku,
            "title": sku.title(),
            "price": {"amount_minor": price, "currency": "EUR"},
            "stock": stock,
        }
        added = await market.call("POST", "/api/v1/products", product, user_id=seller_id, role="merchant")
        assert added["http_status"] == 201, added


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    async with in_own_task(open_market(tmp_path)) as opened:
        yield opened


async def test_an_order_pays_its_sellers_less_the_fee(market: Market) -> None:
    placed = await market.place()
    settled = await market.until_state(placed["order_id"], "SETTLED")

    assert (placed["http_status"], placed["state"]) == (201, "CONFIRMED")
    assert settled["captured"] == settled["total"] == {"amount_minor": 1_099, "currency": "EUR"}
    assert await market.available_minor(market.buyer_id) == 10_000 - 1_099
    assert await market.available_minor(market.merchant_id) == 1_000 - 25
    assert await market.available_minor(market.potter_id) == 99 - 2
    assert await market.stock() == 8


async def test_an_order_confirmed_by_hand_settles(market: Market) -> None:
    placed = await market.place(capture="manual")
    held = await market.available_minor(market.buyer_id)
    confirmed = await market.call("POST", f"/api/v1/orders/{placed['order_id']}/confirm")
    await market.until_state(placed["order_id"], "SETTLED")

    assert (placed["state"], confirmed["state"]) == ("RESERVED", "CONFIRMED")
    assert held == 10_000 - 1_099


async def test_without_funds_there_is_no_order_to_pay(market: Market) -> None:
    poor = uuid4()
    lines = {"lines": [{"sku": "tea", "quantity": 1}]}

    refused = await market.call("POST", "/api/v1/orders", lines, user_id=poor)
    too_dear = await market.place(tea=10)
    again_too_dear = await market.call("POST", "/api/v1/orders", {"lines": [{"sku": "cup", "quantity": 100}]})

    assert (refused["http_status"], refused["reason"]) == (422, "insufficient_funds")
    assert too_dear["state"] == "CONFIRMED"
    assert again_too_dear["reason"] == "insufficient_funds"
    order = await market.order(again_too_dear["details"]["order_id"])
    assert (order["state"], order["rejection"]["reason"]) == ("REJECTED", "insufficient_funds")


async def test_a_cancelled_order_frees_the_money(market: Market) -> None:
    placed = await market.place(capture="manual")

    cancelled = await market.call("POST", f"/api/v1/orders/{placed['order_id']}/cancel", {})

    assert (cancelled["http_status"], cancelled["state"]) == (200, "CANCELLED")
    assert await market.available_minor(market.buyer_id) == 10_000
    assert await market.stock() == 10


async def test_a_settled_order_is_cancelled_by_a_refund(market: Market) -> None:
    placed = await market.place()
    await market.until_state(placed["order_id"], "SETTLED")

    cancelled = await market.call("POST", f"/api/v1/orders/{placed['order_id']}/cancel", {})

    assert cancelled["state"] == "REFUNDED"
    assert await market.available_minor(market.buyer_id) == 10_000
    assert await market.available_minor(market.merchant_id) == 0
    assert await market.stock() == 10


async def test_pieces_come_back_one_by_one(market: Market) -> None:
    placed = await market.place()
    await market.until_state(placed["order_id"], "SETTLED")
    path = f"/api/v1/orders/{placed['order_id']}/refunds"
    one = {"lines": [{"line_number": 1, "quantity": 1}]}

    first = await market.call("POST", path, one, user_id=market.merchant_id, role="merchant")
    too_much = await market.call("POST", path, {"lines": [{"line_number": 1, "quantity": 2}]}, role="operator")
    rest = await market.call("POST", path, {}, user_id=uuid4(), role="operator")

    assert (first["http_status"], first["state"]) == (201, "PARTIALLY_REFUNDED")
    assert [line["sku"] for line in first["lines"]] == ["tea"]
    assert too_much["reason"] == "exceeds_captured"
    assert (rest["state"], rest["refunded"]["amount_minor"]) == ("REFUNDED", 1_099)
    assert await market.available_minor(market.buyer_id) == 10_000


async def test_an_order_that_nobody_confirms_expires(tmp_path: Path) -> None:
    async with open_market(tmp_path, order_lifetime_seconds=1) as market:
        placed = await market.place(capture="manual")

        await market.until_state(placed["order_id"], "EXPIRED")

        assert await market.available_minor(market.buyer_id) == 10_000
        assert await market.stock() == 10


async def test_many_orders_and_cancellations_at_once_leave_no_cent_behind(market: Market) -> None:
    placed = await asyncio.gather(*(market.place(tea=1) for _ in range(6)))
    ids = [order["order_id"] for order in placed]

    await asyncio.gather(*(market.call("POST", f"/api/v1/orders/{order_id}/cancel", {}) for order_id in ids[::2]))

    async def all_ended() -> dict[str, Any] | None:
        orders = (await market.call("GET", "/api/v1/orders"))["items"]
        ended = all(order["state"] in {"SETTLED", "CANCELLED", "REFUNDED"} for order in orders)
        return {"orders": orders} if ended else None

    orders = (await eventually(all_ended, "some order never ended"))["orders"]
    kept = sum(order["captured"]["amount_minor"] - order["refunded"]["amount_minor"] for order in orders)
    assert await market.available_minor(market.buyer_id) == 10_000 - kept
    assert await market.stock() == 10 - sum(order["state"] == "SETTLED" for order in orders)


async def test_each_answer_is_given_again_with_its_status_whichever_replica_is_asked(market: Market) -> None:
    wanted = {"lines": [{"sku": "tea", "quantity": 2}]}
    first = await market.call("POST", "/api/v1/orders", wanted, key="place")
    order = await market.until_state(first["order_id"], "SETTLED")
    path = f"/api/v1/orders/{order['order_id']}"
    refund = await market.call("POST", f"{path}/refunds", {}, role="operator", key="refund", user_id=market.potter_id)

    again = await market.at_replica().call("POST", "/api/v1/orders", wanted, key="place")
    refund_again = await market.at_replica().call(
        "POST", f"{path}/refunds", {}, role="operator", key="refund", user_id=market.potter_id
    )
    another = await market.at_replica().call("POST", "/api/v1/orders", wanted, key="another")
    other = await market.call("POST", f"{path}/cancel", {}, key="place")

    assert (first["replayed"], again["replayed"], refund["replayed"], refund_again["replayed"]) == (
        "false",
        "true",
        "false",
        "true",
    )
    assert (again["http_status"], again["order_id"], again["state"]) == (201, order["order_id"], "REFUNDED")
    assert (refund_again["http_status"], refund_again["refunded"]) == (201, refund["refunded"])
    assert another["order_id"] != order["order_id"]
    assert (other["http_status"], other["reason"]) == (422, "idempotency_key_reused")


async def test_two_replicas_asked_at_once_with_one_key_make_one_order(market: Market) -> None:
    wanted = {"lines": [{"sku": "tea", "quantity": 1}]}

    answers = await asyncio.gather(
        *(one.call("POST", "/api/v1/orders", wanted, key="k") for one in (market, market.at_replica()) * 3)
    )

    orders = (await market.call("GET", "/api/v1/orders"))["items"]
    assert len(orders) == 1
    for answer in answers:
        assert answer["http_status"] == 201 or answer["reason"] == "request_in_flight", answer
    await market.until_state(orders[0]["order_id"], "SETTLED")
    assert await market.available_minor(market.buyer_id) == 9_500
    assert await market.stock() == 9
