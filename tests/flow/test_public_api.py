"""The public API from outside: HTTP and WebSocket, against the embedded platform and services on real servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedded.public_api import Hello, Order
from services.embedded.retrying import retrying
from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    KeyReusedError,
    NotFoundError,
    RefusedError,
    TradeFlowError,
    UnauthenticatedError,
)
from services.runtime.ids import new_id
from tests.support.any_platform import AnyPlatform, RunPlatform
from tests.support.public_shop import PASSWORD, Person, PublicShop, eur, next_events, public_shop, until, until_state


@pytest.fixture(scope="module")
def platform(run_platform: RunPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyPlatform]:
    """One platform of each kind for all tests of the module."""
    data: Path = tmp_path_factory.mktemp("platform") / "data"
    with run_platform(data) as platform:
        yield platform


@pytest.fixture
async def shop(platform: AnyPlatform) -> AsyncIterator[PublicShop]:
    async with public_shop(platform.gateway_url, platform.data) as shop:
        yield shop


async def a_settled_order(shop: PublicShop, buyer: Person, skus: dict[str, int]) -> Order:
    order = await buyer.client.place_order(skus)
    return await until_state(buyer, order, "SETTLED")


async def test_an_order_of_two_sellers_is_held_paid_out_seen_live_and_refunded(shop: PublicShop) -> None:
    buyer = await shop.person(funds_minor=10_000)
    baker, potter = await shop.person("merchant"), await shop.person("merchant")
    bread, bowl = await shop.product(baker, price_minor=450, stock=20), await shop.product(potter, price_minor=2_800)

    order = await a_settled_order(shop, buyer, {bread: 2, bowl: 1})

    assert (order.total, order.captured, order.refunded) == (eur(3_700), eur(3_700), eur(0))
    assert (await buyer.balance()).posted == eur(6_300)
    assert (await until(baker.balance, lambda seen: seen.posted.amount_minor > 0, "pay")).posted == eur(878)
    assert (await potter.balance()).posted == eur(2_730)
    assert (await shop.operator.get_product(bread)).stock == 18
    kinds = [event.kind for event in await next_events(buyer, 4)]
    assert kinds == ["account_opened", "funds_deposited", "funds_reserved", "funds_captured"]

    refunded = await potter.client.refund(order.order_id, {2: 1})

    assert (refunded.state, refunded.refunded) == ("PARTIALLY_REFUNDED", eur(2_800))
    assert (await buyer.balance()).posted == eur(9_100)
    assert (await potter.balance()).posted == eur(0)
    (credited,) = await next_events(buyer, 1, last_sequence=4)
    assert (credited.kind, credited.fact["order_id"]) == ("refund_credited", str(order.order_id))
    assert credited.balance is not None
    assert credited.balance.available == eur(9_100)


async def test_a_live_event_comes_while_the_order_is_settled(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=1_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000)
    async with aclosing(seller.client.notifications()) as live:
        hello = await anext(live)
        assert isinstance(hello, Hello)
        assert (hello.wallet_id, hello.last_sequence) == (seller.user_id, 0)

        await buyer.client.place_order({sku: 1})

        async with asyncio.timeout(60):
            kinds = [said.event.kind async for said in _events(live, 2)]
    assert kinds == ["account_opened", "sale_credited"]


async def _events(live, count: int):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - a few of a stream
    async for said in live:
        yield said
        count -= 1
        if not count:
            return


async def test_a_client_that_was_away_gets_exactly_the_events_that_it_missed(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000)
    seen = await next_events(buyer, 2)

    for _ in range(3):
        await a_settled_order(shop, buyer, {sku: 1})
    missed = await next_events(buyer, 6, last_sequence=seen[-1].sequence)

    assert [event.sequence for event in missed] == [3, 4, 5, 6, 7, 8]
    assert [event.kind for event in missed] == ["funds_reserved", "funds_captured"] * 3


async def test_server_sent_events_resume_from_the_last_event_id(shop: PublicShop) -> None:
    buyer = await shop.person(funds_minor=1_000)
    await shop.treasury.deposit(buyer.email, eur(1))
    headers = {"Authorization": f"Bearer {buyer.client.access_token}", "Last-Event-ID": "1"}
    ids: list[str] = []

    async with (
        httpx.AsyncClient(timeout=10) as http,
        http.stream("GET", f"{shop.root.base_url}/api/v1/wallet/events", headers=headers) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            ids += [line.removeprefix("id:").strip()] if line.startswith("id:") and line != "id:" else []
            if ids and ids[-1] == "3":
                break

    assert [number for number in ids if number != "1"] == ["2", "3"]


async def test_a_ticket_opens_one_websocket_and_no_second_one(shop: PublicShop) -> None:
    buyer = await shop.person()
    bearer = {"Authorization": f"Bearer {buyer.client.access_token}"}
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{shop.root.base_url}/auth/ticket", headers=bearer)
    ticket = answer.json()["ticket"]
    assert (answer.status_code, answer.json()["expires_in"]) == (201, 30)

    first = await _hello_or_close_code(shop.root.base_url, ticket)
    second = await _hello_or_close_code(shop.root.base_url, ticket)

    assert (first, second) == ("hello", 3000)


async def _hello_or_close_code(base_url: str, ticket: str) -> str | int | None:
    from websockets.asyncio.client import connect  # noqa: PLC0415
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415

    async with connect(f"ws{base_url.removeprefix('http')}/ws/notifications?ticket={ticket}", proxy=None) as socket:
        try:
            return "hello" if '"hello"' in str(await socket.recv()) else None
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


async def test_a_repeated_post_is_answered_again_and_moves_nothing(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000, stock=5)
    headers = {"Authorization": f"Bearer {buyer.client.access_token}", "Idempotency-Key": "once"}
    body = {"lines": [{"sku": sku, "quantity": 2}]}

    async with httpx.AsyncClient(base_url=shop.root.base_url) as http:
        first = await http.post("/api/v1/orders", headers=headers, json=body)
        await until_state(buyer, first.json()["order_id"], "SETTLED")
        again = await http.post("/api/v1/orders", headers=headers, json=body)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["order_id"] == first.json()["order_id"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (await buyer.balance()).posted == eur(3_000)
    assert (await shop.operator.get_product(sku)).stock == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/orders", {"lines": [{"sku": "{sku}", "quantity": 1}]}),
        ("/api/v1/wallet/withdrawals", {"amount": {"amount_minor": 1_000, "currency": "EUR"}}),
    ],
)
async def test_a_refusal_that_is_told_again_says_so(shop: PublicShop, path: str, body: dict[str, Any]) -> None:
    buyer, seller = await shop.person(funds_minor=999), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000)
    sent = json.dumps(body).replace("{sku}", sku)
    headers = {"Authorization": f"Bearer {buyer.client.access_token}", "Content-Type": "application/json"}

    async with httpx.AsyncClient(base_url=shop.root.base_url, headers=headers) as http:
        first = await http.post(path, headers={"Idempotency-Key": "once"}, content=sent)
        await shop.treasury.deposit(buyer.email, eur(1))
        again = await http.post(path, headers={"Idempotency-Key": "once"}, content=sent)
        anew = await http.post(path, headers={"Idempotency-Key": "another"}, content=sent)

    assert [answer.status_code for answer in (first, again, anew)] == [422, 422, 201]
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


async def test_the_same_key_with_other_content_is_refused(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000)
    await buyer.client.place_order({sku: 1}, idempotency_key="mine")

    with pytest.raises(KeyReusedError):
        await buyer.client.place_order({sku: 2}, idempotency_key="mine")


async def test_an_order_costs_what_its_buyer_was_shown_or_is_not_placed(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000, stock=5)
    shown = (await buyer.client.get_product(sku)).price * 2
    await seller.client.patch_product(sku, price=eur(1_100))

    with pytest.raises(RefusedError) as refused:
        await buyer.client.place_order({sku: 2}, expected_total=shown)
    placed = await buyer.client.place_order({sku: 2}, expected_total=eur(2_200))
    await until_state(buyer, placed, "SETTLED")

    assert refused.value.reason == "total_changed"
    assert (refused.value.details["expected_minor"], refused.value.details["actual_minor"]) == ("2000", "2200")
    assert [order.order_id for order in (await buyer.client.list_orders()).items] == [placed.order_id]
    assert (await buyer.balance()).posted == eur(2_800)
    assert (await shop.operator.get_product(sku)).stock == 3


async def test_one_key_of_two_buyers_is_two_orders(shop: PublicShop) -> None:
    seller, buyers = await shop.person("merchant"), [await shop.person(funds_minor=1_000) for _ in range(2)]
    sku = await shop.product(seller, price_minor=1_000)

    orders = [await buyer.client.place_order({sku: 1}, idempotency_key="same") for buyer in buyers]

    assert orders[0].order_id != orders[1].order_id


async def test_ten_calls_at_once_with_one_key_place_one_order(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000, stock=10)

    orders = await asyncio.gather(*(buyer.client.place_order({sku: 1}, idempotency_key="at-once") for _ in range(10)))

    assert len({order.order_id for order in orders}) == 1
    await until_state(buyer, orders[0], "SETTLED")
    assert (await buyer.balance()).posted == eur(4_000)
    assert (await shop.operator.get_product(sku)).stock == 9


async def test_the_last_piece_is_sold_once(shop: PublicShop) -> None:
    seller, buyers = await shop.person("merchant"), [await shop.person(funds_minor=1_000) for _ in range(4)]
    sku = await shop.product(seller, price_minor=1_000, stock=1)

    outcomes = await asyncio.gather(*(buyer.client.place_order({sku: 1}) for buyer in buyers), return_exceptions=True)

    refusals = [outcome for outcome in outcomes if isinstance(outcome, TradeFlowError)]
    assert [refusal.reason for refusal in refusals] == ["out_of_stock"] * 3
    assert (await shop.operator.get_product(sku)).stock == 0


async def test_orders_at_once_spend_no_more_than_there_is(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=2_500), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000, stock=100)

    outcomes = await asyncio.gather(*(buyer.client.place_order({sku: 1}) for _ in range(8)), return_exceptions=True)

    placed = [outcome for outcome in outcomes if isinstance(outcome, Order)]
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, TradeFlowError)]
    assert (len(placed), reasons) == (2, ["insufficient_funds"] * 6)
    for order in placed:
        await until_state(buyer, order, "SETTLED")
    assert (await buyer.balance()).posted == eur(500)
    assert (await shop.operator.get_product(sku)).stock == 98


async def test_an_overdraft_is_refused_the_same_way_each_time(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=999), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000, stock=3)

    refusals: list[RefusedError] = []
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            await buyer.client.place_order({sku: 1}, idempotency_key="too-much")
        refusals.append(refused.value)
        await shop.treasury.deposit(buyer.email, eur(1), idempotency_key=f"late-{buyer.user_id}")

    assert [refusal.reason for refusal in refusals] == ["insufficient_funds"] * 2
    assert refusals[0].details["order_id"] == refusals[1].details["order_id"]
    order = await buyer.client.get_order(refusals[0].details["order_id"])
    assert order.state == "REJECTED"
    assert order.rejection is not None
    assert order.rejection.reason == "insufficient_funds"
    assert (await shop.operator.get_product(sku)).stock == 3


async def test_a_refund_gives_back_no_more_than_was_captured(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000, stock=3)
    order = await a_settled_order(shop, buyer, {sku: 3})
    await seller.client.refund(order.order_id, {1: 2})

    with pytest.raises(RefusedError) as refused:
        await seller.client.refund(order.order_id, {1: 2})
    whole = await seller.client.refund(order.order_id)

    assert refused.value.reason == "exceeds_captured"
    assert (whole.state, whole.refunded) == ("REFUNDED", eur(3_000))
    assert (await buyer.balance()).posted == eur(5_000)
    assert (await seller.balance()).posted == eur(0)


async def test_amounts_given_back_one_by_one_are_listed_until_nothing_is_left(shop: PublicShop) -> None:
    buyer, seller, stranger = await shop.person(funds_minor=5_000), await shop.person("merchant"), await shop.person()
    sku = await shop.product(seller, price_minor=1_000)
    order = await a_settled_order(shop, buyer, {sku: 3})

    await seller.client.refund(order.order_id, amount=eur(250))
    partly = await seller.client.refund(order.order_id, amount=eur(1))
    with pytest.raises(RefusedError) as refused:
        await seller.client.refund(order.order_id, amount=eur(2_750))
    with pytest.raises(TradeFlowError) as by_buyer:
        await buyer.client.refund(order.order_id, amount=eur(1))
    listed = await buyer.client.list_refunds(order.order_id, limit=1)
    rest = await buyer.client.list_refunds(order.order_id, cursor=listed.next_cursor)
    whole = await seller.client.refund(order.order_id, amount=eur(2_749))

    assert (refused.value.reason, refused.value.details["left_minor"]) == ("exceeds_captured", "2749")
    assert by_buyer.value.reason == "forbidden"
    assert (partly.state, partly.refunded, partly.lines[0].refundable) == (
        "PARTIALLY_REFUNDED",
        eur(251),
        eur(2_749),
    )
    assert [(one.state, one.amount, one.requested_by) for one in (*listed.items, *rest.items)] == [
        ("DONE", eur(1), seller.user_id),
        ("DONE", eur(250), seller.user_id),
    ]
    assert (whole.state, whole.lines[0].refundable) == ("REFUNDED", eur(0))
    assert (await buyer.balance()).posted == eur(5_000)
    with pytest.raises(NotFoundError):
        await stranger.client.list_refunds(order.order_id)


async def test_a_repeated_refund_gives_the_money_back_once(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000)
    order = await a_settled_order(shop, buyer, {sku: 3})

    await seller.client.refund(order.order_id, {1: 1}, idempotency_key="refund-once")
    refunded = await seller.client.refund(order.order_id, {1: 1}, idempotency_key="refund-once")

    assert (refunded.state, refunded.refunded) == ("PARTIALLY_REFUNDED", eur(1_000))
    assert (await buyer.balance()).posted == eur(3_000)


async def test_a_seller_refunds_own_lines_only_and_the_operator_all(shop: PublicShop) -> None:
    buyer = await shop.person(funds_minor=5_000)
    one, other = await shop.person("merchant"), await shop.person("merchant")
    skus = [await shop.product(one, price_minor=1_000), await shop.product(other, price_minor=2_000)]
    order = await a_settled_order(shop, buyer, dict.fromkeys(skus, 1))

    with pytest.raises(TradeFlowError) as by_seller:
        await one.client.refund(order.order_id, {2: 1})
    with pytest.raises(TradeFlowError) as by_buyer:
        await buyer.client.refund(order.order_id)
    refunded = await shop.operator.refund(order.order_id)

    assert isinstance(by_seller.value, ForbiddenError | NotFoundError)
    assert isinstance(by_buyer.value, ForbiddenError | NotFoundError)
    assert refunded.state == "REFUNDED"


async def test_an_order_is_shown_to_those_it_concerns_and_to_nobody_else(shop: PublicShop) -> None:
    buyer, seller, stranger = await shop.person(funds_minor=1_000), await shop.person("merchant"), await shop.person()
    sku = await shop.product(seller, price_minor=1_000)
    order = await buyer.client.place_order({sku: 1})

    for client in (buyer.client, seller.client, shop.operator):
        assert (await client.get_order(order.order_id)).order_id == order.order_id
    with pytest.raises(NotFoundError) as not_found:
        await stranger.client.get_order(order.order_id)

    assert not_found.value.reason == "order_not_found"
    assert [seen.order_id for seen in (await seller.client.list_orders(role="seller")).items] == [order.order_id]
    assert not (await stranger.client.list_orders()).items


async def test_lists_are_read_page_by_page_without_loss(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=10)
    placed = {(await buyer.client.place_order({sku: 1})).order_id for _ in range(5)}
    seen = []
    cursor = None

    while True:
        page = await buyer.client.list_orders(cursor=cursor, limit=2)
        seen += [order.order_id for order in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert len(seen) == 5
    assert set(seen) == placed


async def test_a_statement_tells_each_posting_with_its_balance(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000)
    order = await a_settled_order(shop, buyer, {sku: 2})

    lines = (await buyer.client.statement("EUR")).items

    assert [(line.amount, line.balance) for line in lines] == [(eur(5_000), eur(5_000)), (eur(-2_000), eur(3_000))]
    assert [line.order_id for line in lines] == [None, order.order_id]
    assert [line.account_sequence for line in lines] == [1, 2]


async def test_only_its_merchant_changes_a_product(shop: PublicShop) -> None:
    owner, other, buyer = await shop.person("merchant"), await shop.person("merchant"), await shop.person()
    sku = await shop.product(owner, price_minor=1_000, stock=1)

    changed = await owner.client.patch_product(sku, price=eur(1_200), stock=None)
    for client in (other.client, buyer.client):
        with pytest.raises((ForbiddenError, NotFoundError)):
            await client.patch_product(sku, price=eur(1))
    with pytest.raises(ConflictError) as taken:
        await other.client.create_product(sku, "Mine now", eur(1))

    assert (changed.price, changed.stock) == (eur(1_200), None)
    assert taken.value.reason == "sku_taken"
    assert (await shop.operator.get_product(sku)) == changed


async def test_a_price_that_changes_leaves_placed_orders_alone(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000)
    order = await buyer.client.place_order({sku: 1})

    await seller.client.patch_product(sku, price=eur(4_000))
    settled = await until_state(buyer, order, "SETTLED")

    assert settled.captured == eur(1_000)


async def test_a_signed_out_token_opens_nothing(shop: PublicShop) -> None:
    buyer = await shop.person()
    stolen = {"Authorization": f"Bearer {buyer.client.access_token}"}

    await buyer.client.logout()
    async with httpx.AsyncClient(base_url=shop.root.base_url) as http:
        answer = await http.get("/api/v1/wallet/balance", params={"currency": "EUR"}, headers=stolen)

    assert answer.status_code == 401
    assert answer.json()["reason"] == "token_revoked"


async def test_signing_out_everywhere_ends_all_sessions_and_the_next_sign_in_works_at_once(shop: PublicShop) -> None:
    buyer = await shop.person()
    elsewhere = shop.root.another()
    tokens = await elsewhere.login(buyer.email, PASSWORD)
    stolen = {"Authorization": f"Bearer {tokens.access_token}"}

    await buyer.client.logout_everywhere()
    async with httpx.AsyncClient(base_url=shop.root.base_url) as http:
        answer = await http.get("/api/v1/wallet/balance", params={"currency": "EUR"}, headers=stolen)
        refreshed = await http.post("/auth/refresh", json={"refresh_token": tokens.refresh_token})
    again = shop.root.another()
    await again.login(buyer.email, PASSWORD)

    assert (answer.status_code, answer.json()["reason"]) == (401, "token_revoked")
    assert (refreshed.status_code, refreshed.json()["reason"]) == (401, "session_ended")
    assert (await again.balance("EUR")).available.amount_minor == 0


async def test_an_address_has_one_user_and_one_password(shop: PublicShop) -> None:
    buyer = await shop.person()

    with pytest.raises(ConflictError) as taken:
        await shop.root.register(buyer.email.upper(), PASSWORD)
    with pytest.raises(UnauthenticatedError) as wrong:
        await shop.root.another().login(buyer.email, "not the password")
    with pytest.raises(UnauthenticatedError) as unknown:
        await shop.root.another().login("nobody@shop.example", "not the password")

    assert taken.value.reason == "email_taken"
    assert (wrong.value.reason, unknown.value.reason) == ("bad_credentials", "bad_credentials")


async def test_orders_of_unknown_and_sold_out_products_are_refused_and_leave_nothing(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_000, stock=1)

    reasons = []
    for quantities in ({f"unknown-{new_id()}": 1}, {sku: 2}):
        with pytest.raises(RefusedError) as refused:
            await buyer.client.place_order(quantities)
        reasons.append(refused.value.reason)

    assert reasons == ["unknown_sku", "out_of_stock"]
    assert not (await buyer.client.list_orders()).items
    assert (await shop.operator.get_product(sku)).stock == 1


async def test_every_service_says_that_it_is_ready(platform: AnyPlatform) -> None:
    async with httpx.AsyncClient() as http:
        for service in ("gateway_url", "orders_url", "ledger_url"):
            for path in ("/healthz", "/readyz", "/metrics"):
                answer = await retrying(lambda url=platform.addresses[service] + path: http.get(url))  # type: ignore[misc]
                assert answer.status_code == 200, (service, path, answer.text)


async def test_nothing_of_all_this_violated_an_invariant(platform: AnyPlatform) -> None:
    await platform.assert_invariants_hold()
