"""Fees of sellers, refunds without pieces, and what sellers see of their sales, on every database."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.money import Money
from services.orders.domain.actor import Actor
from services.orders.domain.order_state import OrderState
from services.orders.domain.shares import refundable_minor
from services.orders.domain.user import Role
from services.orders.outbound.sale_reads import SqlSaleReads
from services.orders.ports import RefundFilter
from services.orders.use_cases.refund_order import RefundOrder, refund_order
from services.orders.use_cases.set_seller_fee import SetSellerFee, set_seller_fee, show_seller_fee
from services.orders.use_cases.show_refunds import show_refunds
from services.orders.use_cases.show_sales import Earned, Summary, show_sales, sum_sales
from services.runtime.errors import ForbiddenError, InvalidArgumentError, NotFoundError, RefusedError
from services.runtime.ids import new_id
from tests.support.orders_world import TERMS, OrdersWorld, orders_world


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


async def set_fee(world: OrdersWorld, seller_id: UUID, basis_points: int) -> None:
    wanted = SetSellerFee(actor=world.operator, seller_id=seller_id, fee_basis_points=basis_points)
    await set_seller_fee(wanted, store=world.store, clock=world.clock)


async def refund(world: OrdersWorld, order_id: UUID, **what: object) -> None:
    asked = {"actor": world.operator, "lines": None, "idempotency_key": str(new_id()), **what}
    wanted = RefundOrder(order_id=order_id, **asked)  # type: ignore[arg-type] # as a test names them
    await refund_order(wanted, store=world.store, ledger=world.ledger, clock=world.clock, terms=TERMS)


async def settled(world: OrdersWorld, key: str = "place") -> UUID:
    placed = await world.place(key=key)
    await world.settle()
    return placed.order.order_id


async def sales(world: OrdersWorld, **which: object) -> list[Earned]:
    asked = {"state": None, "currency": "", "placed_from": None, "placed_until": None, "before": None, "sales_max": 50}
    reads = SqlSaleReads(world.database)
    part = await show_sales(seller_id=world.seller.user_id, reads=reads, **{**asked, **which})  # type: ignore[arg-type] # the same
    return part.items


async def summary(world: OrdersWorld, currency: str = "EUR") -> Summary:
    return await sum_sales(
        seller_id=world.seller.user_id,
        currency=currency,
        placed_from=None,
        placed_until=None,
        reads=SqlSaleReads(world.database),
    )


async def test_each_seller_gives_their_own_fee(world: OrdersWorld) -> None:
    await set_fee(world, world.seller.user_id, 100)
    await set_fee(world, world.seller.user_id, 0)
    await world.place()

    (event,) = await world.confirmed_events()

    assert {one.seller_id: one.fee_basis_points for one in event.allocations} == {
        str(world.seller.user_id): 0,
        str(world.other_seller.user_id): TERMS.fee_basis_points,
    }


async def test_an_order_keeps_the_fee_that_it_was_placed_with(world: OrdersWorld) -> None:
    await set_fee(world, world.seller.user_id, 100)
    placed = await world.place()
    await set_fee(world, world.seller.user_id, 9_999)

    order = await world.order(placed.order.order_id)

    assert {one.seller_id: one.fee_basis_points for one in order.allocations()}[world.seller.user_id] == 100


async def test_only_operators_set_fees_and_only_sensible_ones(world: OrdersWorld) -> None:
    for actor, basis_points, error in (
        (world.seller, 0, ForbiddenError),
        (world.operator, 10_001, InvalidArgumentError),
        (world.operator, -1, InvalidArgumentError),
    ):
        wanted = SetSellerFee(actor=actor, seller_id=world.seller.user_id, fee_basis_points=basis_points)
        with pytest.raises(error):
            await set_seller_fee(wanted, store=world.store, clock=world.clock)

    assert await show_seller_fee(world.seller.user_id, actor=world.seller, store=world.store) is None
    with pytest.raises(NotFoundError):
        await show_seller_fee(world.seller.user_id, actor=world.other_seller, store=world.store)


async def test_money_goes_back_without_pieces(world: OrdersWorld) -> None:
    order_id = await settled(world)
    stock = await world.stock()

    await refund(world, order_id, line_amounts=((1, Money(300, "EUR")),))
    order = await world.order(order_id)

    assert (order.state, order.refunded) == (OrderState.PARTIALLY_REFUNDED, Money(300, "EUR"))
    assert (order.lines[0].refunded_quantity, order.lines[0].refunded_minor) == (0, 300)
    assert await world.stock() == stock, "no piece came back"
    await world.assert_agreed()


async def test_pieces_after_an_amount_bring_what_is_left(world: OrdersWorld) -> None:
    order_id = await settled(world)

    await refund(world, order_id, line_amounts=((1, Money(1_500, "EUR")),))
    await refund(world, order_id, lines=((1, 1),))
    half_way = await world.order(order_id)
    await refund(world, order_id)

    assert half_way.refunded == Money(2_000, "EUR"), "the piece brings the 500 that were left of its line"
    order = await world.order(order_id)
    assert (order.state, order.refunded) == (OrderState.REFUNDED, order.total)
    await world.assert_agreed()


async def test_an_amount_for_the_order_is_spread_over_its_lines(world: OrdersWorld) -> None:
    order_id = await settled(world)

    await refund(world, order_id, amount=Money(2_400, "EUR"))
    order = await world.order(order_id)

    assert [line.refunded_minor for line in order.lines] == [2_000, 400]
    with pytest.raises(RefusedError) as refused:
        await refund(world, order_id, amount=Money(601, "EUR"))
    assert (refused.value.reason, refused.value.details["left_minor"]) == ("exceeds_captured", "600")
    await refund(world, order_id, amount=Money(600, "EUR"))
    assert (await world.order(order_id)).state is OrderState.REFUNDED
    await world.assert_agreed()


async def test_a_seller_refunds_out_of_their_own_lines_alone(world: OrdersWorld) -> None:
    order_id = await settled(world)

    with pytest.raises(RefusedError) as refused:
        await refund(world, order_id, actor=world.other_seller, amount=Money(1_001, "EUR"))
    with pytest.raises(ForbiddenError):
        await refund(world, order_id, actor=world.other_seller, line_amounts=((1, Money(1, "EUR")),))
    await refund(world, order_id, actor=world.other_seller, amount=Money(1_000, "EUR"))

    assert refused.value.reason == "exceeds_captured"
    assert [line.refunded_minor for line in (await world.order(order_id)).lines] == [0, 1_000]


async def test_what_was_given_back_is_listed_newest_first_and_to_sellers_their_own(world: OrdersWorld) -> None:
    order_id = await settled(world)
    for minor in (300, 400, 500):
        await refund(world, order_id, amount=Money(minor, "EUR"))
    await refund(world, order_id, actor=world.other_seller, lines=((2, 1),))

    async def seen_by(actor: Actor, **page: Any) -> list[tuple[int, list[int]]]:
        found = await show_refunds(
            order_id, actor=actor, reads=world.reads, **{"before": None, "refunds_max": 9} | page
        )
        return [(one.amount.amount_minor, [line.quantity for line in one.lines]) for one in found.items]

    newest = (await world.reads.refunds(RefundFilter(order_id=order_id, refunds_max=1))).items[0]

    assert await seen_by(world.buyer) == [(1_000, [1]), (500, [0]), (400, [0]), (300, [0])]
    assert await seen_by(world.operator, before=newest.refund_id, refunds_max=2) == [(500, [0]), (400, [0])]
    assert await seen_by(world.seller) == [(500, [0]), (400, [0]), (300, [0])]
    assert await seen_by(world.other_seller) == [(1_000, [1])]
    with pytest.raises(NotFoundError):
        await seen_by(Actor(user_id=UUID(int=9), roles=frozenset({Role.BUYER})))


async def test_what_can_still_go_back_is_told_by_line(world: OrdersWorld) -> None:
    placed = await world.place()
    before = refundable_minor(placed.order)
    await world.settle()
    paid = refundable_minor(await world.order(placed.order.order_id))
    await refund(world, placed.order.order_id, lines=((1, 1),))
    await refund(world, placed.order.order_id, line_amounts=((1, Money(250, "EUR")),))

    left = refundable_minor(await world.order(placed.order.order_id))

    assert (before, paid, left) == ({1: 0, 2: 0}, {1: 2_000, 2: 1_000}, {1: 750, 2: 1_000})


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"line_amounts": ((1, Money(0, "EUR")),)}, "invalid_amount"),
        ({"line_amounts": ((1, Money(1, "USD")),)}, "currency_mismatch"),
        ({"line_amounts": ((7, Money(1, "EUR")),)}, "unknown_line"),
        ({"lines": ((1, 1),), "line_amounts": ((1, Money(1, "EUR")),)}, "duplicate_line"),
        ({"line_amounts": ((1, Money(1, "EUR")), (1, Money(1, "EUR")))}, "duplicate_line"),
        ({"amount": Money(1, "USD")}, "currency_mismatch"),
        ({"amount": Money(-1, "EUR")}, "invalid_amount"),
    ],
)
async def test_an_amount_that_makes_no_sense_is_invalid(
    world: OrdersWorld, what: dict[str, object], reason: str
) -> None:
    order_id = await settled(world)

    with pytest.raises(InvalidArgumentError) as invalid:
        await refund(world, order_id, **what)

    assert invalid.value.reason == reason


async def test_more_than_a_lines_share_is_refused(world: OrdersWorld) -> None:
    order_id = await settled(world)

    with pytest.raises(RefusedError) as refused:
        await refund(world, order_id, line_amounts=((1, Money(2_001, "EUR")),))

    assert refused.value.reason == "exceeds_captured"
    assert (await world.order(order_id)).state is OrderState.SETTLED


async def test_a_seller_sees_what_was_paid_and_what_is_due(world: OrdersWorld) -> None:
    await set_fee(world, world.seller.user_id, 333)
    paid = await settled(world)
    await refund(world, paid, line_amounts=((1, Money(500, "EUR")),))
    await world.place(key="not settled yet")
    cancelled = await world.place(key="cancelled")
    await world.cancel(cancelled.order.order_id)

    sums = await summary(world)

    # floor(2,000 * 333 / 10,000) = 66; floor(500 * 66 / 2,000) = 16 of it went back.
    assert (sums.paid.sales, sums.paid.gross_minor, sums.paid.refunded_minor) == (1, 2_000, 500)
    assert (sums.paid.fee_minor, sums.paid.net_minor) == (50, 1_450)
    assert (sums.due.sales, sums.due.gross_minor, sums.due.fee_minor, sums.due.net_minor) == (1, 2_000, 66, 1_934)
    assert (await summary(world, "USD")).paid.sales == 0


async def test_sales_know_of_a_refund_that_got_lost_here_and_was_healed(world: OrdersWorld) -> None:
    order_id = await settled(world)
    await world.forgotten_refund(order_id, {1: 1})

    await world.reconcile()

    (sale,) = await sales(world)
    assert (sale.sale.refunded_minor, sale.earnings.net_minor) == (1_000, 975)
    await refund(world, order_id)
    assert (await summary(world)).paid.net_minor == 0
    await world.assert_agreed()


async def test_an_only_sellers_sale_follows_an_order_that_older_code_healed_without_its_lines(
    world: OrdersWorld,
) -> None:
    order_id = (await world.place(lines=(("tea", 2),))).order.order_id
    await world.settle()
    async with world.database.transaction() as connection:
        healed = "UPDATE orders SET state = 'PARTIALLY_REFUNDED', refunded_minor = 1000 WHERE order_id = $1"
        await connection.execute(healed, order_id)

    (sale,) = await sales(world)

    assert (sale.sale.refunded_minor, sale.earnings.net_minor) == (1_000, 975)


async def test_sales_are_listed_page_by_page_by_state_and_time(world: OrdersWorld) -> None:
    first = await settled(world, "first")
    others = [(await world.place(key=f"key-{number}", lines=(("tea", 1),))).order.order_id for number in range(3)]

    everything = [one.sale.order_id for one in await sales(world)]
    page = await sales(world, sales_max=3)
    rest = await sales(world, sales_max=3, before=page[-1].sale.order_id)
    placed_at = (await world.order(first)).created_at

    assert everything == [*reversed(others), first]
    assert [one.sale.order_id for one in (*page, *rest)] == everything
    assert [one.sale.order_id for one in await sales(world, state=OrderState.SETTLED)] == [first]
    assert await sales(world, state=OrderState.CANCELLED) == []
    assert await sales(world, currency="USD") == []
    assert [one.is_paid for one in await sales(world)] == [False, False, False, True]
    assert await sales(world, placed_from=placed_at + timedelta(days=3_650)) == []
