"""An order of two sellers: neither learns what the other sold, was paid or gave back."""

import json

import pytest

from services.money import Money
from services.orders.domain.actor import Actor
from services.orders.domain.order import Order, Rejection
from services.orders.domain.order_state import OrderState
from services.orders.domain.refund import Refund, RefundState
from services.orders.inbound.http_bodies import OrderBody, order_body
from services.orders.ports import OrderFilter
from services.orders.recovery_ports import HISTORY_A_PAGE_MAX, HistoryLine
from services.orders.use_cases.refund_order import RefundOrder, refund_order
from services.orders.use_cases.show_recovery import show_history
from services.orders.use_cases.show_refunds import show_refunds
from services.runtime.errors import RefusedError
from tests.support import webhooks
from tests.support.fake_endpoints import FakeEndpoints
from tests.support.orders_world import TERMS, OrdersWorld

TEA_MINOR, CUP_MINOR = 2_000, 1_000


async def settle_an_order(world: OrdersWorld) -> None:
    await world.place()
    await world.settle()


async def seen(world: OrdersWorld, actor: Actor) -> OrderBody:
    (order,) = await world.all_orders()
    return order_body(order, actor)


def sums(body: OrderBody) -> tuple[int, int, int]:
    return body.total.amount_minor, body.captured.amount_minor, body.refunded.amount_minor


async def moves(world: OrdersWorld, actor: Actor) -> list[HistoryLine]:
    (order,) = await world.all_orders()
    return await show_history(order.order_id, actor=actor, reads=world.reads, recovery=world.recovery)


async def give_back(world: OrdersWorld, actor: Actor, minor: int) -> None:
    (order,) = await world.all_orders()
    wanted = RefundOrder(
        actor=actor,
        order_id=order.order_id,
        idempotency_key=f"give back {minor}",
        lines=None,
        amount=Money(minor, "EUR"),
    )
    await refund_order(wanted, store=world.store, ledger=world.ledger, clock=world.clock, terms=TERMS)


async def test_each_seller_sees_the_sums_of_their_own_lines(world: OrdersWorld) -> None:
    await world.place()
    before = sums(await seen(world, world.seller)), sums(await seen(world, world.other_seller))
    await world.settle()
    await give_back(world, world.other_seller, 999)

    assert before == ((TEA_MINOR, 0, 0), (CUP_MINOR, 0, 0))
    assert sums(await seen(world, world.seller)) == (TEA_MINOR, TEA_MINOR, 0)
    assert sums(await seen(world, world.other_seller)) == (CUP_MINOR, CUP_MINOR, 999)
    for whole in (world.buyer, world.operator):
        assert sums(await seen(world, whole)) == (3_000, 3_000, 999)


async def test_a_history_of_many_refused_refunds_is_read_page_by_page(world: OrdersWorld) -> None:
    (order_id,) = [order.order_id for order in await placed(world)]
    moves = 2 * HISTORY_A_PAGE_MAX + 3
    async with world.database.transaction() as connection:
        await connection.execute_many(
            "INSERT INTO order_history (order_id, version, from_state, state, changed_at, note, moved_by) "
            "VALUES ($1, $2, 'SETTLED', 'REFUNDING', 0, '', 'ledger')",
            [(order_id, version) for version in range(100, 100 + moves)],
        )

    pages: list[list[HistoryLine]] = [[]]
    after_version = 0
    while len(pages) == 1 or len(pages[-1]) == HISTORY_A_PAGE_MAX:
        pages.append(
            await show_history(
                order_id,
                actor=world.buyer,
                reads=world.reads,
                recovery=world.recovery,
                after_version=after_version,
            )
        )
        after_version = pages[-1][-1].version

    versions = [line.version for page in pages for line in page]
    assert [len(page) for page in pages[1:3]] == [HISTORY_A_PAGE_MAX, HISTORY_A_PAGE_MAX]
    assert versions == sorted(set(versions))
    assert versions[-moves:] == list(range(100, 100 + moves))


async def placed(world: OrdersWorld) -> list[Order]:
    await world.place()
    return await world.all_orders()


async def refunds_seen(world: OrdersWorld, order: Order, actor: Actor) -> list[Refund]:
    part = await show_refunds(order.order_id, actor=actor, before=None, refunds_max=9, reads=world.reads)
    return part.items


async def test_a_list_of_sales_has_the_same_sums(world: OrdersWorld) -> None:
    await settle_an_order(world)
    await give_back(world, world.other_seller, 999)

    (listed,) = (await world.reads.orders(OrderFilter(seller_id=world.seller.user_id, orders_max=9))).items

    assert sums(order_body(listed, world.seller)) == (TEA_MINOR, TEA_MINOR, 0)


async def test_the_sellers_sums_come_to_the_orders(world: OrdersWorld) -> None:
    await settle_an_order(world)
    for minor in (333, 400):
        await give_back(world, world.operator, minor)
    await give_back(world, world.other_seller, 1)

    bodies = [await seen(world, seller) for seller in (world.seller, world.other_seller)]

    assert [sum(parts) for parts in zip(*map(sums, bodies), strict=True)] == [3_000, 3_000, 734]
    for body in bodies:
        left_minor = sum(line.refundable.amount_minor for line in body.lines)
        assert left_minor == body.captured.amount_minor - body.refunded.amount_minor


async def test_a_buyer_who_sells_in_the_own_order_sees_all_of_it(world: OrdersWorld) -> None:
    world.bank.available[world.seller.user_id] = 10_000
    placed = await world.place(buyer=world.seller)

    assert sums(order_body(placed.order, world.seller)) == (3_000, 0, 0)
    assert sums(order_body(placed.order, world.other_seller)) == (CUP_MINOR, 0, 0)


async def test_a_seller_is_not_told_what_the_buyer_has_nor_what_all_of_it_costs(world: OrdersWorld) -> None:
    poor = await world.add_buyer(10)
    with pytest.raises(RefusedError):
        await world.place(buyer=poor)
    (order,) = await world.orders_of(poor)

    told, own = order_body(order, world.seller).rejection, order_body(order, poor).rejection

    assert told is not None
    assert own is not None
    assert (told.reason, told.message) == ("insufficient_funds", "The ledger refused.")
    assert own.message != told.message


async def test_the_history_does_not_name_other_sellers(world: OrdersWorld) -> None:
    await settle_an_order(world)
    await give_back(world, world.other_seller, 999)
    other = str(world.other_seller.user_id)

    told, own = await moves(world, world.seller), await moves(world, world.other_seller)

    assert [(line.state, line.moved_by) for line in told[-2:]] == [
        ("REFUNDING", "seller"),
        ("PARTIALLY_REFUNDED", "seller"),
    ]
    assert other not in str(told)
    assert told[0].moved_by == f"user:{world.buyer.user_id}"
    assert own[-1].moved_by == f"user:{other}"
    for whole in (world.buyer, world.operator):
        assert (await moves(world, whole))[-1].moved_by == f"user:{other}"


async def test_nobody_is_told_that_another_seller_could_not_pay(world: OrdersWorld) -> None:
    await settle_an_order(world)
    await give_back(world, world.seller, 1)
    endpoint = await webhooks.listen(world, world.seller.user_id)
    world.bank.poor_sellers.add(world.other_seller.user_id)

    with pytest.raises(RefusedError):
        await world.refund((await world.all_orders())[0].order_id)

    (order,) = await world.all_orders()
    endpoints = FakeEndpoints()
    await webhooks.deliver(world, endpoints)
    sent = [json.loads(one.body) for one in endpoints.sent if one.endpoint.endpoint_id == endpoint.endpoint_id]
    (refused, _) = await refunds_seen(world, order, world.seller)
    assert order.state is OrderState.PARTIALLY_REFUNDED
    assert (await moves(world, world.operator))[-1].reason == "insufficient_funds"
    assert (await moves(world, world.seller))[-1].reason == ""
    assert [message["data"]["reason"] for message in sent] == [""]
    assert (refused.state, refused.rejection) == (RefundState.REFUSED, None)


async def test_an_only_seller_is_told_why_a_refund_was_refused(world: OrdersWorld) -> None:
    await world.place(lines=(("tea", 1),))
    await world.settle()
    world.bank.poor_sellers.add(world.seller.user_id)

    with pytest.raises(RefusedError):
        await world.refund((await world.all_orders())[0].order_id)

    assert (await moves(world, world.seller))[-1].reason == "insufficient_funds"


@pytest.mark.parametrize("lines", [(("tea", 1),), (("tea", 1), ("cup", 1))], ids=["one seller", "two sellers"])
async def test_a_buyer_is_not_told_what_a_seller_has(world: OrdersWorld, lines: tuple[tuple[str, int], ...]) -> None:
    await world.place(lines=lines)
    await world.settle()
    (order,) = await world.all_orders()
    world.bank.poor_sellers.add(world.seller.user_id)

    answers = []
    for _ in range(2):  # the second one is answered what the first one was
        with pytest.raises(RefusedError) as refused:
            await world.cancel(order.order_id)
        answers.append((refused.value.reason, refused.value.message))

    told = [(await refunds_seen(world, order, actor))[0].rejection for actor in (world.buyer, world.operator)]
    without_sums = ("insufficient_funds", "A seller has less than the refund takes.")
    assert answers == [without_sums] * 2
    assert told == [
        Rejection(reason=without_sums[0], message=without_sums[1]),
        Rejection(reason="insufficient_funds", message="The ledger says no."),
    ]


async def test_the_seller_who_was_to_pay_reads_the_ledgers_words(world: OrdersWorld) -> None:
    await settle_an_order(world)
    (order,) = await world.all_orders()
    world.bank.poor_sellers.add(world.seller.user_id)

    with pytest.raises(RefusedError, match="The ledger says no"):
        await world.refund(order.order_id, actor=world.seller)

    for actor, words in (
        (world.seller, "The ledger says no."),
        (world.buyer, "A seller has less than the refund takes."),
    ):
        (told,) = await refunds_seen(world, order, actor)
        assert told.rejection is not None
        assert told.rejection.message == words
