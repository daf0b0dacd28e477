"""The database of orders is restored from a copy of any moment: orders go where the ledger is, and no money moves."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.orders.domain.order import CaptureMode
from services.orders.domain.order_state import OrderState
from tests.support.orders_world import OrdersWorld, orders_world
from tests.support.restored_orders import CopyingFuse

POINTS_MAX = 60
"""More points than any story has."""


async def pay(world: OrdersWorld) -> None:
    await world.place()
    await world.settle()


async def pay_once_confirmed(world: OrdersWorld) -> None:
    placed = await world.place(capture=CaptureMode.MANUAL)
    await world.confirm(placed.order.order_id)
    await world.settle()


async def cancel(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.cancel(placed.order.order_id)
    await world.settle()


async def cancel_once_captured(world: OrdersWorld) -> None:
    placed = await world.place()
    events = await world.capture()
    await world.cancel(placed.order.order_id)
    await world.deliver(events)


async def refund(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()
    await world.refund(placed.order.order_id, lines=((1, 1),))


async def wait(world: OrdersWorld) -> None:
    await world.place(capture=CaptureMode.MANUAL)
    await world.finish(after_seconds=901)


STORIES: dict[str, tuple[Callable[[OrdersWorld], Awaitable[None]], set[OrderState]]] = {
    "paid": (pay, {OrderState.SETTLED}),
    "paid once confirmed": (pay_once_confirmed, {OrderState.SETTLED}),
    "cancelled": (cancel, {OrderState.CANCELLED, OrderState.EXPIRED, OrderState.SETTLEMENT_FAILED}),
    "cancelled once captured": (cancel_once_captured, {OrderState.REFUNDED}),
    "refunded": (refund, {OrderState.PARTIALLY_REFUNDED}),
    "expired": (wait, {OrderState.EXPIRED}),
}


@pytest.mark.parametrize("story", STORIES)
async def test_an_order_goes_where_the_ledger_is_wherever_the_copy_was_made(tmp_path: Path, story: str) -> None:
    tell, ends = STORIES[story]
    for point in range(POINTS_MAX):
        folder = tmp_path / str(point)
        folder.mkdir()
        async with orders_world(folder) as world:
            fuse = CopyingFuse(world, folder, copies_at=point)
            await tell(world)
            if not fuse.has_copied:
                assert point > 0
                return
            fuse.restore()
            await check_that_it_comes_right(world, ends, after=fuse.passed[point])
    pytest.fail("the story has too many points")


async def check_that_it_comes_right(world: OrdersWorld, ends: set[OrderState], *, after: str) -> None:
    """Let time pass, and compare; an order that the copy doesn't have is nobody's here."""
    (before,) = world.bank.holds.values()
    restored = await world.all_orders()

    for _ in range(2):
        await world.finish(after_seconds=901, passes=2)
        await world.reconcile()

    (hold,) = world.bank.holds.values()
    assert (hold.captured_minor, hold.refunded_minor) == (before.captured_minor, before.refunded_minor), after
    if restored:
        assert {order.state for order in await world.all_orders()} <= ends, after
        assert await world.found() == [], after
        await world.assert_agreed()
