"""Webhooks on every database: written with the move, tried until taken or given up, redriven."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from services.money import Money
from services.orders.domain.actor import Actor
from services.orders.domain.order import CaptureMode
from services.orders.domain.webhook import Delivery, DeliveryState, EndpointNotFoundError, WebhookEndpoint
from services.orders.outbound.webhook_ending import WebhookEnder
from services.orders.outbound.webhook_overview import redrive_all, undelivered
from services.orders.use_cases.deliver_webhooks import REST, TAKEN_FOR, Delivered
from services.orders.use_cases.keep_webhooks import (
    redrive_webhooks,
    remove_webhook,
    rotate_webhook_secret,
    show_deliveries,
    show_webhooks,
)
from services.orders.webhook_ports import Attempt, TakenDelivery
from services.runtime.errors import NotFoundError, RefusedError, UnavailableError
from tests.support import webhooks
from tests.support.crashes import ProcessDied
from tests.support.fake_endpoints import FakeEndpoints
from tests.support.orders_world import OrdersWorld, an_actor, orders_world

DOCUMENTATION = Path(__file__).parents[2] / "docs/webhooks.md"

LATER_SECONDS = 7 * 3_600
"""Past any pause between two attempts."""


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


class SlowEndpoints(FakeEndpoints):
    """They take everything, and their time."""

    SECONDS = 9

    def __init__(self, world: OrdersWorld) -> None:
        super().__init__()
        self._clock = world.clock

    async def send(self, taken: TakenDelivery, *, secrets: Sequence[bytes], now: datetime) -> Attempt:
        await self._clock.advance(self.SECONDS)
        return await super().send(taken, secrets=secrets, now=now)


async def listen(world: OrdersWorld, merchant: Actor | None = None) -> WebhookEndpoint:
    return await webhooks.listen(world, (merchant or world.seller).user_id)


async def deliver(world: OrdersWorld, endpoints: FakeEndpoints) -> Delivered:
    """Try what is due, as both loops do."""
    well, failing = [await webhooks.deliver(world, endpoints, failing=failing) for failing in (False, True)]
    return Delivered(
        taken=well.taken + failing.taken,
        delivered=well.delivered + failing.delivered,
        failed=well.failed + failing.failed,
        died=well.died + failing.died,
    )


async def deliveries(world: OrdersWorld, endpoint: WebhookEndpoint) -> list[Delivery]:
    return await show_deliveries(
        endpoint.endpoint_id,
        merchant_id=endpoint.merchant_id,
        state=None,
        before=None,
        rows_max=50,
        store=world.store,
    )


async def fail_until_dead(world: OrdersWorld, endpoints: FakeEndpoints, endpoint: WebhookEndpoint) -> None:
    endpoints.status_of[endpoint.endpoint_id] = 500
    for _ in range(webhooks.ATTEMPTS_MAX):
        await deliver(world, endpoints)
        await world.clock.advance(LATER_SECONDS)


async def test_each_seller_is_told_of_their_own_lines(world: OrdersWorld) -> None:
    own, other = await listen(world), await listen(world, world.other_seller)
    endpoints = FakeEndpoints()
    placed = await world.place()
    await world.settle()

    delivered = await deliver(world, endpoints)

    assert (delivered.taken, delivered.delivered) == (4, 4)
    told = {
        endpoint.endpoint_id: [
            json.loads(one.body) for one in endpoints.sent if one.endpoint.endpoint_id == endpoint.endpoint_id
        ]
        for endpoint in (own, other)
    }
    for endpoint, sku, gross_minor in ((own, "tea", 2_000), (other, "cup", 1_000)):
        messages = sorted(told[endpoint.endpoint_id], key=lambda message: message["data"]["version"])
        assert [message["type"] for message in messages] == ["order.confirmed", "order.settled"]
        for message in messages:
            assert message["data"]["order_id"] == str(placed.order.order_id)
            assert [line["sku"] for line in message["data"]["lines"]] == [sku]
            assert message["data"]["gross"] == {"amount_minor": gross_minor, "currency": "EUR"}
    assert (await deliver(world, endpoints)).taken == 0


async def test_the_whole_life_of_an_order_is_told(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    order_id = (await world.place(capture=CaptureMode.MANUAL)).order.order_id
    await world.confirm(order_id)
    await world.settle()
    await world.refund(order_id, lines=((1, 1),))
    await world.refund(order_id, key="the rest")
    cancelled = (await world.place(capture=CaptureMode.MANUAL, key="second")).order.order_id
    await world.cancel(cancelled)

    await deliver(world, endpoints)

    told = [(delivery.order_id, delivery.event_type) for delivery in reversed(await deliveries(world, endpoint))]
    words = ["order.reserved", "order.confirmed", "order.settled", "order.refunded", "order.refunded"]
    assert told == [
        *((order_id, word) for word in words),
        (cancelled, "order.reserved"),
        (cancelled, "order.cancelled"),
    ]


async def test_a_refund_tells_each_seller_how_much_of_their_part_went_back(world: OrdersWorld) -> None:
    own, other = await listen(world), await listen(world, world.other_seller)
    endpoints = FakeEndpoints()
    order_id = (await world.place()).order.order_id
    await world.settle()
    await world.refund(order_id, line_amounts=((1, Money(700, "EUR")),))
    await world.refund(order_id, lines=((1, 1),), key="a piece")

    await deliver(world, endpoints)

    assert refunds_told(endpoints, own) == [(0, 700), (1, 1_700)]
    assert refunds_told(endpoints, other) == [(0, 0), (0, 0)]


def refunds_told(endpoints: FakeEndpoints, endpoint: WebhookEndpoint) -> list[tuple[int, int]]:
    """List what an endpoint was told of refunds, in their order: pieces that came back, and money."""
    data = [json.loads(one.body)["data"] for one in endpoints.sent if one.endpoint.endpoint_id == endpoint.endpoint_id]
    refunds = [one for one in data if one["state"] == "PARTIALLY_REFUNDED"]
    refunds.sort(key=lambda one: one["version"])
    return [(one["lines"][0]["refunded_quantity"], one["refunded"]["amount_minor"]) for one in refunds]


async def test_a_message_has_the_fields_that_merchants_are_told_of(world: OrdersWorld) -> None:
    await listen(world)
    endpoints = FakeEndpoints()
    await world.place()
    documented = re.search(r'^\{"type".*?^```', DOCUMENTATION.read_text(), re.DOTALL | re.MULTILINE)
    assert documented is not None

    await deliver(world, endpoints)

    told = json.loads(endpoints.sent[0].body)
    assert fields_of(told) == fields_of(json.loads(documented[0].removesuffix("```")))


def fields_of(value: object) -> object:
    """Keep names, and no values."""
    if isinstance(value, dict):
        return {name: fields_of(one) for name, one in value.items()}
    return [fields_of(value[0])] if isinstance(value, list) else None


async def test_a_move_that_was_rolled_back_is_not_told(world: OrdersWorld) -> None:
    endpoint = await listen(world)
    placed = await world.place(capture=CaptureMode.MANUAL)
    before = await deliveries(world, endpoint)

    async def move_and_fail() -> None:
        async with world.real_store.transaction() as rows:
            order = await rows.orders.find(placed.order.order_id)
            assert order is not None
            await rows.orders.save(order.begin_cancelling(world.clock.now()).release(world.clock.now()), by="test")
            raise UnavailableError("as if the server had gone")

    with pytest.raises(UnavailableError):
        await move_and_fail()

    assert await deliveries(world, endpoint) == before


async def test_a_failed_delivery_is_tried_again_later_each_time_and_given_up(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    await world.place()
    endpoints.status_of[endpoint.endpoint_id] = 500

    first = await deliver(world, endpoints)
    at_once = await deliver(world, endpoints)
    (waiting,) = await deliveries(world, endpoint)
    await world.clock.advance(5)
    await deliver(world, endpoints)
    await world.clock.advance(10)
    last = await deliver(world, endpoints)
    (dead,) = await deliveries(world, endpoint)

    assert (first.failed, at_once.taken, last.died) == (1, 0, 1)
    assert (waiting.state, waiting.attempts, waiting.status) == (DeliveryState.PENDING, 1, 500)
    assert (dead.state, dead.attempts, dead.due_at) == (DeliveryState.DEAD, webhooks.ATTEMPTS_MAX, None)
    ids = {one.message_id for one in endpoints.sent}
    assert len(ids) == 1, "all attempts have one id"


async def test_an_endpoint_that_is_gone_is_not_asked_again(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    await world.place()
    endpoints.status_of[endpoint.endpoint_id] = 410

    assert (await deliver(world, endpoints)).died == 1
    (dead,) = await deliveries(world, endpoint)
    assert dead.state is DeliveryState.DEAD


async def test_a_failing_endpoint_holds_nobody_else_up(world: OrdersWorld) -> None:
    bad, good = await listen(world), await listen(world, world.other_seller)
    endpoints = FakeEndpoints()
    endpoints.status_of[bad.endpoint_id] = 500
    for number in range(3):
        await world.place(key=f"key-{number}")

    delivered = await deliver(world, endpoints)

    assert (delivered.taken, delivered.delivered, delivered.failed) == (6, 3, 1), "the first failure leaves the rest"
    assert len(endpoints.taken[good.endpoint_id]) == 3
    assert sorted(delivery.attempts for delivery in await deliveries(world, bad)) == [0, 0, 1]
    endpoints.status_of[bad.endpoint_id] = 204
    await world.clock.advance(LATER_SECONDS)
    assert (await deliver(world, endpoints)).delivered == 3
    (endpoint,) = await show_webhooks(merchant_id=bad.merchant_id, store=world.store)
    assert endpoint.failures == 0


async def test_an_endpoint_that_answers_slowly_leaves_the_pass_to_others(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), SlowEndpoints(world)
    for number in range(3):
        await world.place(key=f"key-{number}", lines=(("tea", 1),))

    first = await deliver(world, endpoints)
    at_once = await deliver(world, endpoints)
    await world.clock.advance(REST.total_seconds())
    second = await deliver(world, endpoints)

    assert (first.taken, first.delivered, first.failed) == (3, 1, 0)
    assert (at_once.taken, second.delivered) == (0, 1)
    waiting = [one for one in await deliveries(world, endpoint) if one.state is DeliveryState.PENDING]
    assert [(one.attempts, one.error) for one in waiting] == [(0, "")]
    (listed,) = await show_webhooks(merchant_id=endpoint.merchant_id, store=world.store)
    assert listed.failures == 0


async def test_replicas_share_what_is_due(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    for number in range(8):
        await world.place(key=f"key-{number}", lines=(("tea", 1),))

    passes = await asyncio.gather(*(deliver(world, endpoints) for _ in range(4)))

    assert sum(one.delivered for one in passes) == 8
    assert len(set(endpoints.taken[endpoint.endpoint_id])) == len(endpoints.sent) == 8


async def test_what_a_dead_process_had_taken_is_sent_again_under_its_id(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    await world.place()

    def die() -> None:
        raise ProcessDied

    endpoints.before_answer = die
    with pytest.raises(ProcessDied):
        await deliver(world, endpoints)
    endpoints.before_answer = lambda: None
    too_early = await deliver(world, endpoints)
    await world.clock.advance(TAKEN_FOR.total_seconds())
    again = await deliver(world, endpoints)

    assert (too_early.taken, again.delivered) == (0, 1)
    assert endpoints.sent[0].message_id == endpoints.sent[1].message_id
    (delivery,) = await deliveries(world, endpoint)
    assert delivery.state is DeliveryState.DELIVERED


async def test_dead_deliveries_are_redriven_with_all_their_attempts(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    await world.place()
    await fail_until_dead(world, endpoints, endpoint)
    (dead,) = await undelivered(world.database, DeliveryState.DEAD, endpoint_id=None, rows_max=10)

    redriven = await redrive_webhooks(
        endpoint.endpoint_id,
        merchant_id=endpoint.merchant_id,
        message_id=dead.message_id,
        store=world.store,
        clock=world.clock,
    )
    endpoints.status_of[endpoint.endpoint_id] = 204
    delivered = await deliver(world, endpoints)

    assert (redriven, delivered.delivered) == (1, 1)
    assert (dead.url, dead.attempts, dead.error) == ("https://shop.example", webhooks.ATTEMPTS_MAX, "status 500")
    with pytest.raises(NotFoundError):
        await redrive_webhooks(
            endpoint.endpoint_id,
            merchant_id=endpoint.merchant_id,
            message_id=dead.message_id,
            store=world.store,
            clock=world.clock,
        )


async def test_who_runs_the_platform_redrives_everybodys(world: OrdersWorld) -> None:
    first, second = await listen(world), await listen(world, world.other_seller)
    endpoints = FakeEndpoints()
    await world.place()
    endpoints.status_of[second.endpoint_id] = 500
    await fail_until_dead(world, endpoints, first)

    now = world.clock.now()
    only_first = await redrive_all(world.database, endpoint_id=first.endpoint_id, now=now, rows_max=10)
    the_rest = await redrive_all(world.database, endpoint_id=None, now=now, rows_max=10)

    assert (only_first, the_rest) == (1, 1)


async def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    rotated = await rotate_webhook_secret(
        endpoint.endpoint_id, merchant_id=endpoint.merchant_id, store=world.store, clock=world.clock
    )
    await world.place()
    await deliver(world, endpoints)
    await world.clock.advance(timedelta(days=1).total_seconds())
    await world.place(key="later")
    await deliver(world, endpoints)

    assert endpoint.secret != rotated.secret
    assert endpoints.secrets == [(rotated.secret, endpoint.secret), (rotated.secret,)]


async def test_an_endpoint_is_its_merchants_alone(world: OrdersWorld) -> None:
    endpoint = await listen(world)
    stranger: UUID = an_actor().user_id

    with pytest.raises(EndpointNotFoundError):
        await rotate_webhook_secret(endpoint.endpoint_id, merchant_id=stranger, store=world.store, clock=world.clock)
    with pytest.raises(EndpointNotFoundError):
        await remove_webhook(endpoint.endpoint_id, merchant_id=stranger, store=world.store, clock=world.clock)
    assert await show_webhooks(merchant_id=stranger, store=world.store) == []


async def test_a_removed_endpoint_is_told_nothing_more(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    await world.place()
    await remove_webhook(endpoint.endpoint_id, merchant_id=endpoint.merchant_id, store=world.store, clock=world.clock)
    await world.settle()

    assert (await deliver(world, endpoints)).taken == 0
    assert await undelivered(world.database, DeliveryState.PENDING, endpoint_id=None, rows_max=10) == []
    assert await WebhookEnder(world.database, world.clock).step() == 1
    assert await redrive_all(world.database, endpoint_id=None, now=world.clock.now(), rows_max=10) == 0


async def test_a_merchant_has_ten_endpoints_at_most(world: OrdersWorld) -> None:
    for _ in range(10):
        await listen(world)

    with pytest.raises(RefusedError) as refused:
        await listen(world)

    assert refused.value.reason == "too_many_endpoints"


async def test_registrations_at_the_same_time_make_ten_endpoints_at_most(world: OrdersWorld) -> None:
    answers = await asyncio.gather(*(listen(world) for _ in range(30)), return_exceptions=True)
    others = await asyncio.gather(*(listen(world, world.other_seller) for _ in range(3)))

    refused = [answer.reason for answer in answers if isinstance(answer, RefusedError)]
    registered = {answer.endpoint_id for answer in answers if isinstance(answer, WebhookEndpoint)}
    assert (len(registered), refused) == (10, ["too_many_endpoints"] * 20)
    listed = await show_webhooks(merchant_id=world.seller.user_id, store=world.store)
    assert {endpoint.endpoint_id for endpoint in listed} == registered
    assert len(others) == 3, "one merchant's endpoints are no other's"


async def test_who_removed_an_endpoint_has_room_for_another(world: OrdersWorld) -> None:
    endpoints = [await listen(world) for _ in range(10)]
    await remove_webhook(
        endpoints[3].endpoint_id, merchant_id=world.seller.user_id, store=world.store, clock=world.clock
    )

    answers = await asyncio.gather(*(listen(world) for _ in range(5)), return_exceptions=True)

    assert sum(isinstance(answer, WebhookEndpoint) for answer in answers) == 1
    assert len(await show_webhooks(merchant_id=world.seller.user_id, store=world.store)) == 10


async def test_deliveries_are_listed_page_by_page_and_forgotten_when_they_are_old(world: OrdersWorld) -> None:
    endpoint, endpoints = await listen(world), FakeEndpoints()
    for number in range(5):
        await world.place(key=f"key-{number}", lines=(("tea", 1),))
    await deliver(world, endpoints)
    pages: list[UUID] = []
    before: UUID | None = None
    while True:
        async with world.store.transaction() as rows:
            page = await rows.webhooks.deliveries(
                endpoint.endpoint_id, state=DeliveryState.DELIVERED, before=before, rows_max=2
            )
        if not page:
            break
        pages += [delivery.message_id for delivery in page]
        before = page[-1].message_id

    await world.clock.advance(10)
    async with world.store.transaction() as rows:
        forgotten = await rows.webhooks.forget(updated_before=world.clock.now(), rows_max=3)

    assert pages == sorted(set(pages), reverse=True)
    assert (len(pages), forgotten, len(await deliveries(world, endpoint))) == (5, 3, 2)
