"""The stories of orders, and of people, on every database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from services.orders.domain.actor import Actor
from services.orders.domain.discrepancy import DiscrepancyKind, HoldSide, OrderSide
from services.orders.domain.hold import HoldState
from services.orders.domain.order import CaptureMode, Order
from services.orders.domain.order_state import OrderState
from services.orders.domain.session import SessionTimes
from services.orders.domain.user import Role
from services.orders.outbound.passwords import Argon2Passwords
from services.orders.outbound.reads import LINES_A_PAGE_MAX
from services.orders.outbound.store import SqlIdentityStore
from services.orders.ports import OrderFilter, RefundFilter
from services.orders.use_cases.add_product import AddProduct, add_product
from services.orders.use_cases.forget_expired import forget_expired
from services.orders.use_cases.once import Answer
from services.orders.use_cases.reconcile_orders import reconcile_step
from services.orders.use_cases.register_user import RegisterUser, register_user
from services.orders.use_cases.rotate_session import rotate_session
from services.orders.use_cases.start_session import start_session
from services.runtime.errors import ConflictError, RejectedError
from tests.support.orders_world import EVERYTHING, PRICE, STOCK, OrdersWorld, orders_world

TIMES = SessionTimes(idle=timedelta(days=30), longest=timedelta(days=90), grace=timedelta(seconds=10))


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    passwords = Argon2Passwords(memory_kibibytes=8, passes=1)
    yield passwords
    passwords.close()


async def test_an_order_is_placed_settled_and_refunded(world: OrdersWorld) -> None:
    placed = await world.place()
    again = await world.place()
    await world.settle()
    settled = await world.order(placed.order.order_id)
    await world.refund(placed.order.order_id, lines=((1, 1),))
    await world.refund(placed.order.order_id, key="the rest")

    assert again.order.order_id == placed.order.order_id
    assert settled.state is OrderState.SETTLED
    await world.assert_agreed()


async def test_a_key_with_other_content_is_a_conflict(world: OrdersWorld) -> None:
    await world.place()

    with pytest.raises(ConflictError):
        await world.place(lines=(("tea", 1),))


async def test_the_last_piece_is_sold_once(world: OrdersWorld) -> None:
    async def place(number: int) -> Answer:
        return await world.place(key=f"key-{number}", lines=(("tea", STOCK // 2 + 1),))

    ended = await asyncio.gather(*(place(number) for number in range(8)), return_exceptions=True)
    await world.settle()

    assert [type(end) for end in ended if isinstance(end, BaseException) and not isinstance(end, RejectedError)] == []
    assert await world.stock() == STOCK - (STOCK // 2 + 1)


async def test_orders_that_a_crash_left_are_finished(world: OrdersWorld) -> None:
    placed = await world.place(capture=CaptureMode.MANUAL)
    assert placed.order.state is OrderState.RESERVED
    await world.finish(after_seconds=3_600, passes=3)

    assert (await world.order(placed.order.order_id)).state is OrderState.EXPIRED
    await world.assert_agreed()


async def test_what_was_lost_between_orders_and_ledger_is_found_and_healed(world: OrdersWorld) -> None:
    world.bank.available[world.buyer.user_id] += 10_000
    lost, reversed_, damaged = [
        (await world.place(key=f"key-{number}", lines=(("tea", 1),))).order.order_id for number in range(3)
    ]
    events = await world.capture()
    await world.deliver(events[1:])
    world.bank.reverse(reversed_)
    async with world.database.transaction() as connection:
        await connection.execute("UPDATE orders SET captured_minor = 999 WHERE order_id = $1", damaged)

    found = await world.found()
    again = await world.found()

    assert set(found) == {
        DiscrepancyKind.CAPTURE_MISSED,
        DiscrepancyKind.REFUND_MISSED,
        DiscrepancyKind.CAPTURE_DIFFERS,
    }
    assert again == [DiscrepancyKind.CAPTURE_DIFFERS]
    states = [(await world.order(order_id)).state for order_id in (lost, reversed_)]
    assert states == [OrderState.SETTLED, OrderState.REFUNDED]
    assert await world.recovery.open_discrepancies() == {DiscrepancyKind.CAPTURE_DIFFERS: 1}
    (noted,) = await world.recovery.discrepancies(healed=False, kind=None, after=None, rows_max=10)
    assert noted.order == OrderSide(state=OrderState.SETTLED, currency="EUR", captured_minor=999, refunded_minor=0)
    assert noted.hold == HoldSide(
        state=HoldState.CAPTURED, currency="EUR", captured_minor=1_000, refunded_minor=0, remaining_minor=0
    )
    healed = await world.recovery.discrepancies(healed=True, kind=None, after=None, rows_max=10)
    assert [one.order_id for one in healed] == sorted([lost, reversed_])
    after = (healed[0].order_id, healed[0].kind.value)
    assert await world.recovery.discrepancies(healed=True, kind=None, after=after, rows_max=10) == healed[1:]
    assert await world.recovery.discrepancies(healed=True, kind=None, after=None, rows_max=1) == healed[:1]
    assert (await world.recovery.progress()).last_healed_at == max(one.healed_at for one in healed if one.healed_at)
    (last,) = (await world.recovery.history(lost))[-1:]
    assert (last.from_state, last.state, last.moved_by) == ("CONFIRMED", "SETTLED", "reconciler")


async def test_replicas_that_compare_at_once_share_the_steps(world: OrdersWorld) -> None:
    await world.place()
    await world.clock.advance(11)

    steps = await asyncio.gather(
        *(reconcile_step(EVERYTHING, store=world.store, ledger=world.ledger, clock=world.clock) for _ in range(4))
    )

    assert sum(step.compared for step in steps if step is not None) == 1


async def pages_of(world: OrdersWorld, buyer: Actor, *, orders_max: int) -> list[list[Order]]:
    pages: list[list[Order]] = []
    before: UUID | None = None
    while True:
        part = await world.reads.orders(OrderFilter(buyer_id=buyer.user_id, before=before, orders_max=orders_max))
        pages.append(part.items)
        if part.next_before is None:
            return pages
        before = part.next_before


async def test_orders_are_listed_page_by_page(world: OrdersWorld) -> None:
    for number in range(5):
        await world.place(key=f"key-{number}", lines=(("cup", 1),))

    everything = [order.order_id for order in await world.all_orders()]
    pages = await pages_of(world, world.buyer, orders_max=2)

    assert [order.order_id for page in pages for order in page] == everything
    assert [len(page) for page in pages] == [2, 2, 1]


async def test_a_page_of_long_orders_ends_early_and_the_next_one_goes_on(world: OrdersWorld) -> None:
    skus = [f"product-{number}" for number in range(LINES_A_PAGE_MAX // 3)]
    for sku in skus:
        await world.add_product(sku, STOCK)
    buyer = await world.add_buyer(5 * len(skus) * PRICE.amount_minor)
    lines = tuple((sku, 1) for sku in skus)
    placed = [(await world.place(key=f"key-{number}", lines=lines, buyer=buyer)).order.order_id for number in range(5)]

    pages = await pages_of(world, buyer, orders_max=200)

    assert [len(page) for page in pages] == [3, 2]
    assert [order.order_id for page in pages for order in page] == placed[::-1]
    assert {len(order.lines) for page in pages for order in page} == {len(skus)}


async def test_a_page_of_long_refunds_ends_early_and_the_next_one_goes_on(world: OrdersWorld) -> None:
    skus = [f"product-{number}" for number in range(LINES_A_PAGE_MAX // 3)]
    for sku in skus:
        await world.add_product(sku, STOCK)
    buyer = await world.add_buyer(5 * len(skus) * PRICE.amount_minor)
    order_id = (await world.place(lines=tuple((sku, 5) for sku in skus), buyer=buyer)).order.order_id
    await world.settle()
    for number in range(5):
        lines = tuple((line_number, 1) for line_number in range(1, len(skus) + 1))
        await world.refund(order_id, key=f"refund-{number}", lines=lines)

    first = await world.reads.refunds(RefundFilter(order_id=order_id, refunds_max=200))
    second = await world.reads.refunds(
        RefundFilter(order_id=order_id, refunds_max=200, before=first.items[-1].refund_id)
    )

    assert [(len(part.items), part.next_before) for part in (first, second)] == [
        (3, first.items[-1].refund_id),
        (2, None),
    ]


async def test_a_sku_belongs_to_one_product(world: OrdersWorld) -> None:
    async def add(title: str) -> object:
        wanted = AddProduct(seller_id=world.seller.user_id, sku="pot", title=title, price=PRICE, stock=None)
        return await add_product(wanted, store=world.store, clock=world.clock)

    ended = await asyncio.gather(add("Pot"), add("Another"), return_exceptions=True)

    assert sorted(isinstance(end, ConflictError) for end in ended) == [False, True]


async def test_an_address_belongs_to_one_person(world: OrdersWorld, passwords: Argon2Passwords) -> None:
    store = SqlIdentityStore(world.database)
    wanted = RegisterUser(email="ann@example.org", password="correct horse battery", role=Role.BUYER)

    async def register() -> object:
        return await register_user(wanted, store=store, passwords=passwords, clock=world.clock)

    ended = await asyncio.gather(register(), register(), return_exceptions=True)

    assert sorted(isinstance(end, ConflictError) for end in ended) == [False, True]


async def test_a_session_is_rotated_and_forgotten(world: OrdersWorld, passwords: Argon2Passwords) -> None:
    store = SqlIdentityStore(world.database)
    wanted = RegisterUser(email="ann@example.org", password="correct horse battery", role=Role.BUYER)
    user = await register_user(wanted, store=store, passwords=passwords, clock=world.clock)

    first = await start_session(user.user_id, store=store, clock=world.clock, times=TIMES)
    second = await rotate_session(first.refresh_token, store=store, clock=world.clock, times=TIMES)
    await world.clock.advance(100 * 24 * 3600)
    await forget_expired(store=store, clock=world.clock)

    assert first.refresh_token != second.refresh_token
    async with world.database.snapshot() as connection:
        assert await connection.fetch("SELECT COUNT(*) FROM refresh_tokens") == [(0,)]
