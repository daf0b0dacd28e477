"""Orders alone, through its real doors, while the ledger is away."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from services.orders.outbound.order_totals import order_totals
from services.orders.settings import OrdersSettings
from services.orders.wiring import RunningOrders, running
from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import Message
from services.runtime.consumer_loop import LoopSettings
from tests.support.issuer import Issuer, running_issuer
from tests.support.own_task import in_own_task
from tests.support.waiting import eventually

NOBODY_LISTENS = "127.0.0.1:1"


@dataclass(kw_only=True)
class Shop:
    """A running orders service and what it takes to call it."""

    orders: RunningOrders
    issuer: Issuer
    http: httpx.AsyncClient
    buyer_id: UUID
    merchant_id: UUID
    database_url: str
    broker_url: str

    async def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None, key: str | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.buyer}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.http.request(method, path, json=body, headers=headers)

    @property
    def buyer(self) -> str:
        return self.issuer.user_token(self.buyer_id)

    @property
    def merchant(self) -> str:
        return self.issuer.user_token(self.merchant_id, ("merchant",))

    async def add(self, sku: str = "tea", **changes: object) -> httpx.Response:
        price = {"amount_minor": 250, "currency": "EUR"}
        product = {"sku": sku, "title": "Tea", "price": price, "stock": 10, **changes}
        return await self.call("POST", "/api/v1/products", product, token=self.merchant)


@asynccontextmanager
async def open_shop(folder: Path) -> AsyncIterator[Shop]:
    async with running_issuer() as issuer:
        settings = OrdersSettings(
            database_url=f"sqlite:///{folder}/orders.db",
            broker_url=f"sqlite:///{folder}/broker.db",
            issuer=issuer.issuer,
            jwks_url=issuer.jwks_url,
            ledger_grpc_target=NOBODY_LISTENS,
            token_url=issuer.token_url,
            client_secret=SecretStr("orders' own secret"),
            http_port=0,
            grpc_port=0,
            ledger_deadline_seconds=0.5,
            password_memory_kibibytes=8,
            password_passes=1,
        )
        async with running(settings) as orders, httpx.AsyncClient(base_url=orders.http_url, trust_env=False) as http:
            yield Shop(
                orders=orders,
                issuer=issuer,
                http=http,
                buyer_id=uuid4(),
                merchant_id=uuid4(),
                database_url=settings.database_url,
                broker_url=settings.broker_url,
            )


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with in_own_task(open_shop(tmp_path)) as opened:
        yield opened


def reason(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["reason"]


async def test_a_merchant_sells_and_everybody_sees_it(shop: Shop) -> None:
    added = await shop.add()
    listed = await shop.call("GET", "/api/v1/products")
    shown = await shop.call("GET", "/api/v1/products/tea")

    assert added.status_code == 201
    product = added.json()
    assert product == shown.json()
    assert listed.json() == {"items": [product], "next_cursor": None}
    assert product["seller_id"] == str(shop.merchant_id)
    assert product["created_at"].endswith("Z")


async def test_a_merchant_changes_only_what_is_named(shop: Shop) -> None:
    product = (await shop.add()).json()

    changed = await shop.call("PATCH", "/api/v1/products/tea", {"stock": None}, token=shop.merchant)

    assert changed.status_code == 200
    assert changed.json() == {**product, "stock": None, "updated_at": changed.json()["updated_at"]}


@pytest.mark.parametrize(("stock", "expected"), [(10, 11), (10, None), (None, 10)])
async def test_a_product_of_another_stock_than_was_expected_is_not_changed(
    shop: Shop, stock: int | None, expected: int | None
) -> None:
    product = (await shop.add(stock=stock)).json()
    wanted = {"stock": 20, "title": "More", "expected_stock": expected}

    refused = await shop.call("PATCH", "/api/v1/products/tea", wanted, token=shop.merchant)

    assert reason(refused) == (422, "stock_changed")
    assert refused.json()["details"] == {"expected_stock": json.dumps(expected), "stock": json.dumps(stock)}
    assert (await shop.call("GET", "/api/v1/products/tea")).json() == product


@pytest.mark.parametrize("stock", [10, None])
async def test_a_product_of_the_stock_that_was_expected_is_changed(shop: Shop, stock: int | None) -> None:
    await shop.add(stock=stock)
    wanted = {"stock": 20, "expected_stock": stock}

    changed = await shop.call("PATCH", "/api/v1/products/tea", wanted, token=shop.merchant)

    assert (changed.status_code, changed.json()["stock"]) == (200, 20)


async def test_a_stock_that_was_counted_before_an_order_does_not_bring_its_pieces_back(shop: Shop) -> None:
    counted = (await shop.add()).json()["stock"]
    await shop.call("POST", "/api/v1/orders", TEA, key="k")

    late = await shop.call(
        "PATCH", "/api/v1/products/tea", {"stock": counted + 5, "expected_stock": counted}, token=shop.merchant
    )

    assert reason(late) == (422, "stock_changed")
    assert (await shop.call("GET", "/api/v1/products/tea")).json()["stock"] == counted - 1


@pytest.mark.parametrize("expected", [1.0, True, "10"])
async def test_an_expected_stock_that_is_no_number_is_invalid(shop: Shop, expected: object) -> None:
    await shop.add()
    wanted = {"stock": 20, "expected_stock": expected}

    assert reason(await shop.call("PATCH", "/api/v1/products/tea", wanted, token=shop.merchant)) == (
        400,
        "validation_failed",
    )


async def test_another_merchant_changes_nothing(shop: Shop) -> None:
    await shop.add()
    other = shop.issuer.user_token(uuid4(), ("merchant",))

    changed = await shop.call("PATCH", "/api/v1/products/tea", {"title": "Mine"}, token=other)

    assert reason(changed) == (403, "forbidden")


BAD_PRODUCTS: list[tuple[dict[str, Any], str]] = [
    ({"sku": "no spaces"}, "invalid_sku"),
    ({"sku": "x" * 65}, "invalid_sku"),
    ({"sku": "."}, "invalid_sku"),
    ({"sku": ".."}, "invalid_sku"),
    ({"title": ""}, "invalid_title"),
    ({"title": "t" * 201}, "invalid_title"),
    ({"title": "a\x00b"}, "invalid_title"),
    ({"stock": -1}, "invalid_stock"),
    ({"stock": 1.0}, "validation_failed"),
    ({"stock": True}, "validation_failed"),
    ({"price": {"amount_minor": 0, "currency": "EUR"}}, "invalid_amount"),
    ({"price": {"amount_minor": 2**53, "currency": "EUR"}}, "invalid_amount"),
    ({"price": {"amount_minor": 2**70, "currency": "EUR"}}, "invalid_amount"),
    ({"price": {"amount_minor": 1.5, "currency": "EUR"}}, "validation_failed"),
    ({"price": {"amount_minor": "1", "currency": "EUR"}}, "validation_failed"),
    ({"price": {"amount_minor": 1, "currency": "eur"}}, "unknown_asset"),
    ({"price": {"amount_minor": 1}}, "validation_failed"),
    ({"colour": "red"}, "validation_failed"),
]


async def test_a_product_that_makes_no_sense_is_invalid(shop: Shop) -> None:
    for changes, why in BAD_PRODUCTS:
        assert reason(await shop.add(**changes)) == (400, why), changes


async def test_a_sku_is_taken_once(shop: Shop) -> None:
    await shop.add()

    assert reason(await shop.add()) == (409, "sku_taken")


async def test_buyers_sell_nothing(shop: Shop) -> None:
    assert reason(await shop.call("POST", "/api/v1/products", {})) == (403, "role_required")


async def test_lists_go_on_where_the_cursor_says(shop: Shop) -> None:
    for sku in ("a", "b", "c"):
        await shop.add(sku)

    first = (await shop.call("GET", "/api/v1/products?limit=2")).json()
    second = (await shop.call("GET", f"/api/v1/products?limit=2&cursor={first['next_cursor']}")).json()

    assert [product["sku"] for product in first["items"]] == ["a", "b"]
    assert [product["sku"] for product in second["items"]] == ["c"]
    assert second["next_cursor"] is None


BAD_QUERIES = [
    ("products?limit=0", "validation_failed"),
    ("products?limit=201", "validation_failed"),
    ("products?cursor=%20", "cursor_malformed"),
    ("orders?cursor=tea", "cursor_malformed"),
    ("orders?state=LOST", "unknown_state"),
    ("orders?role=king", "validation_failed"),
    ("sales?currency=eur", "unknown_asset"),
    ("sales/summary?currency=eur", "unknown_asset"),
    ("sales/summary?currency=", "unknown_asset"),
    ("sales?placed_from=2026-01-01T00:00:00", "instant_malformed"),
    ("sales?placed_from=0001-01-01T00:00:00%2B01:00", "instant_malformed"),
    ("sales?placed_until=9999-12-31T23:59:59-01:00", "instant_malformed"),
]


async def test_a_list_asked_for_wrongly_is_invalid(shop: Shop) -> None:
    for query, why in BAD_QUERIES:
        assert reason(await shop.call("GET", f"/api/v1/{query}", token=shop.merchant)) == (400, why), query


async def test_while_the_ledger_is_away_an_order_waits(shop: Shop) -> None:
    await shop.add()
    wanted = {"lines": [{"sku": "tea", "quantity": 3}]}

    placed = await shop.call("POST", "/api/v1/orders", wanted, key="k")

    assert placed.status_code == 503
    assert int(placed.headers["retry-after"]) >= 1
    (order,) = (await shop.call("GET", "/api/v1/orders")).json()["items"]
    assert order["state"] == "PENDING"
    assert order["total"] == {"amount_minor": 750, "currency": "EUR"}
    assert (await shop.call("GET", "/api/v1/products/tea")).json()["stock"] == 7
    (totals,) = [totals async for totals in order_totals(shop.database_url)]
    assert (str(totals.order_id), totals.state) == (order["order_id"], "PENDING")


async def test_an_order_is_there_for_those_it_concerns_only(shop: Shop) -> None:
    await shop.add()
    await shop.call("POST", "/api/v1/orders", {"lines": [{"sku": "tea", "quantity": 1}]}, key="k")
    (order,) = (await shop.call("GET", "/api/v1/orders")).json()["items"]
    path = f"/api/v1/orders/{order['order_id']}"

    operator = await shop.call("GET", path, token=shop.issuer.user_token(uuid4(), ("operator",)))
    seller = await shop.call("GET", path, token=shop.merchant)
    sold = await shop.call("GET", "/api/v1/orders?role=seller", token=shop.merchant)
    stranger = await shop.call("GET", path, token=shop.issuer.user_token(uuid4()))

    assert operator.json() == seller.json() == sold.json()["items"][0] == order
    assert reason(stranger) == (404, "order_not_found")
    assert reason(await shop.call("GET", "/api/v1/orders/7")) == (404, "order_not_found")


TEA = {"lines": [{"sku": "tea", "quantity": 1}]}

BAD_ORDERS: list[tuple[object, str]] = [
    ({"lines": []}, "invalid_lines"),
    ({"lines": [{"sku": "tea", "quantity": 0}]}, "invalid_quantity"),
    ({"lines": [{"sku": "tea", "quantity": 1.0}]}, "validation_failed"),
    ({"lines": [{"sku": "tea", "quantity": 1}, {"sku": "tea", "quantity": 2}]}, "duplicate_sku"),
    ({"lines": [{"sku": "tea", "quantity": 1}, {"sku": "yen", "quantity": 2}]}, "currency_mismatch"),
    ({"lines": [{"sku": "tea", "quantity": 1}], "capture": "later"}, "validation_failed"),
    ({"lines": [{"sku": "tea", "quantity": 1}], "gift": True}, "validation_failed"),
    ({"lines": [{"sku": "dear", "quantity": 2}]}, "invalid_amount"),
    ({**TEA, "expected_total": {"amount_minor": 0, "currency": "EUR"}}, "validation_failed"),
    ({**TEA, "expected_total": {"amount_minor": -250, "currency": "EUR"}}, "validation_failed"),
    ({**TEA, "expected_total": {"amount_minor": 250.0, "currency": "EUR"}}, "validation_failed"),
    ({**TEA, "expected_total": {"amount_minor": 2**53, "currency": "EUR"}}, "validation_failed"),
    ({**TEA, "expected_total": {"amount_minor": 250, "currency": "QQQ"}}, "unknown_asset"),
    ({**TEA, "expected_total": {"amount_minor": 250}}, "validation_failed"),
    ({**TEA, "expected_total": 250}, "validation_failed"),
    ({}, "validation_failed"),
    ([], "validation_failed"),
    ("tea", "validation_failed"),
]


async def test_an_order_that_makes_no_sense_is_invalid(shop: Shop) -> None:
    await shop.add()
    await shop.add("yen", price={"amount_minor": 5, "currency": "JPY"})
    await shop.add("dear", price={"amount_minor": 2**53 - 1, "currency": "EUR"})

    for body, why in BAD_ORDERS:
        assert reason(await shop.call("POST", "/api/v1/orders", body, key="k")) == (400, why), body
    assert (await shop.call("GET", "/api/v1/orders")).json()["items"] == []


async def test_an_order_at_another_total_than_was_expected_is_refused_with_both(shop: Shop) -> None:
    await shop.add()
    wanted = {**TEA, "expected_total": {"amount_minor": 249, "currency": "EUR"}}

    refused = await shop.call("POST", "/api/v1/orders", wanted, key="k")
    again = await shop.call("POST", "/api/v1/orders", wanted, key="k")
    other = await shop.call("POST", "/api/v1/orders", {**TEA, "expected_total": None}, key="k")

    assert reason(refused) == (422, "total_changed")
    assert refused.json()["details"] == {
        "expected_minor": "249",
        "expected_currency": "EUR",
        "actual_minor": "250",
        "actual_currency": "EUR",
    }
    assert again.json() == refused.json()
    assert reason(other) == (422, "idempotency_key_reused")
    assert (await shop.call("GET", "/api/v1/orders")).json()["items"] == []
    assert (await shop.call("GET", "/api/v1/products/tea")).json()["stock"] == 10


async def test_an_order_at_the_total_that_was_expected_begins(shop: Shop) -> None:
    await shop.add()
    wanted = {**TEA, "expected_total": {"amount_minor": 250, "currency": "EUR"}}

    placed = await shop.call("POST", "/api/v1/orders", wanted, key="k")

    assert placed.status_code == 503, "the ledger is away"
    (order,) = (await shop.call("GET", "/api/v1/orders")).json()["items"]
    assert (order["state"], order["total"]) == ("PENDING", wanted["expected_total"])


async def test_a_body_with_an_unknown_field_says_which_and_leaves_its_key_free(shop: Shop) -> None:
    """The console goes by these words where a service of an older release doesn't know all that it sends."""
    await shop.add()

    unknown = await shop.call("POST", "/api/v1/orders", {**TEA, "gift": True}, key="k")
    known = await shop.call("POST", "/api/v1/orders", TEA, key="k")

    assert reason(unknown) == (400, "validation_failed")
    assert "unknown field `gift`" in unknown.json()["detail"]
    assert known.status_code == 503, "the ledger is away"


async def test_moving_money_takes_a_key(shop: Shop) -> None:
    for path in ("orders", f"orders/{uuid4()}/confirm", f"orders/{uuid4()}/cancel", f"orders/{uuid4()}/refunds"):
        without = await shop.call("POST", f"/api/v1/{path}", {"lines": []})
        malformed = await shop.call("POST", f"/api/v1/{path}", {"lines": []}, key="two words")

        assert reason(without) == (400, "idempotency_key_missing")
        assert reason(malformed) == (400, "idempotency_key_malformed")


async def test_malformed_json_is_told_apart(shop: Shop) -> None:
    headers = {"Authorization": f"Bearer {shop.buyer}", "Idempotency-Key": "k", "Content-Type": "application/json"}

    response = await shop.http.post("/api/v1/orders", content=b'{"lines": [', headers=headers)

    assert reason(response) == (400, "malformed_json")


async def test_nobody_comes_in_without_a_good_token(shop: Shop) -> None:
    without = await shop.http.get("/api/v1/orders")
    service = await shop.call("GET", "/api/v1/orders", token=shop.issuer.service_token("gateway", "orders"))

    assert reason(without) == (401, "token_missing")
    assert reason(service) == (403, "user_token_required")


async def test_orders_whose_consumer_stands_still_over_its_dead_letters_goes_on_serving(shop: Shop) -> None:
    too_many = LoopSettings().dead_letters_max + 1
    broker = open_broker(shop.broker_url)
    malformed = [Message(topic="wallet-events", key=str(number).encode(), value=b"\xff") for number in range(too_many)]

    async def stands_still() -> bool:
        return bool((await shop.http.get("/readyz")).json()["hints"]["wallet_events"] != "ok")

    with capture_logs():  # a hundred tracebacks take longer to write than all else
        await broker.producer().publish(malformed)
        await eventually(stands_still, seconds_max=60)
    ready = await shop.http.get("/readyz")
    await broker.close()

    assert ready.status_code == 200


async def test_it_says_that_it_is_ready(shop: Shop) -> None:
    assert (await shop.http.get("/healthz")).status_code == 200
    assert (await shop.http.get("/readyz")).json()["status"] == "ready"
    metrics = (await shop.http.get("/metrics")).text
    assert "tradeflow_outbox_lag_seconds" in metrics
    assert 'tradeflow_consumer_healthy{consumer="orders"} 1.0' in metrics
    assert (await shop.http.get("/schema/openapi.json")).status_code == 200


async def test_what_was_durable_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        await shop.add()
    async with open_shop(tmp_path) as shop:
        assert (await shop.call("GET", "/api/v1/products/tea")).status_code == 200
