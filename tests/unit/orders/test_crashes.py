"""The process dies at every point of every story; afterwards time and the reconciler must set everything right."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from services.orders.domain.order import CaptureMode
from services.orders.domain.order_state import OrderState
from services.runtime.ids import new_id
from tests.support.crashes import Fuse, MortalLedger, MortalStore, ProcessDied
from tests.support.orders_world import OrdersWorld, orders_world, refund_credited

Act = Callable[[OrdersWorld, UUID], Awaitable[object]]

POINTS_MAX = 60
"""More points than any story has."""


async def nothing(_world: OrdersWorld) -> UUID:
    return new_id()


async def a_reserved_order(world: OrdersWorld) -> UUID:
    return (await world.place(capture=CaptureMode.MANUAL)).order.order_id


async def a_confirmed_order(world: OrdersWorld) -> UUID:
    return (await world.place()).order.order_id


async def a_settled_order(world: OrdersWorld) -> UUID:
    order_id = await a_confirmed_order(world)
    await world.settle()
    return order_id


async def a_captured_order(world: OrdersWorld) -> UUID:
    order_id = await a_confirmed_order(world)
    await world.capture()
    return order_id


async def an_order_of_a_poor_seller(world: OrdersWorld) -> UUID:
    order_id = await a_settled_order(world)
    world.bank.poor_sellers.add(world.seller.user_id)
    return order_id


async def finish_later(world: OrdersWorld, _order_id: UUID) -> None:
    await world.finish(after_seconds=901)


STORIES: dict[str, tuple[Callable[[OrdersWorld], Awaitable[UUID]], Act, set[OrderState]]] = {
    "place": (
        nothing,
        lambda world, _: world.place(),
        {OrderState.SETTLED, OrderState.EXPIRED},
    ),
    "place for manual capture": (
        nothing,
        lambda world, _: world.place(capture=CaptureMode.MANUAL),
        {OrderState.EXPIRED},
    ),
    "confirm": (
        a_reserved_order,
        lambda world, order_id: world.confirm(order_id),
        {OrderState.SETTLED, OrderState.EXPIRED},
    ),
    "cancel before capture": (
        a_confirmed_order,
        lambda world, order_id: world.cancel(order_id),
        {OrderState.CANCELLED, OrderState.REFUNDED, OrderState.SETTLED},
    ),
    "cancel after capture": (
        a_captured_order,
        lambda world, order_id: world.cancel(order_id),
        {OrderState.REFUNDED, OrderState.SETTLED},
    ),
    "cancel after settlement": (
        a_settled_order,
        lambda world, order_id: world.cancel(order_id),
        {OrderState.REFUNDED, OrderState.SETTLED},
    ),
    "refund some": (
        a_settled_order,
        lambda world, order_id: world.refund(order_id, lines=((1, 1),)),
        {OrderState.PARTIALLY_REFUNDED, OrderState.SETTLED},
    ),
    "refund refused": (
        an_order_of_a_poor_seller,
        lambda world, order_id: world.refund(order_id),
        {OrderState.SETTLED},
    ),
    "expire": (a_reserved_order, finish_later, {OrderState.EXPIRED}),
    "settle": (a_confirmed_order, lambda world, _: world.settle(), {OrderState.SETTLED}),
    "reversal": (
        a_settled_order,
        lambda world, order_id: world.deliver([refund_credited(world.bank.reverse(order_id))]),
        {OrderState.REFUNDED},
    ),
}


async def die_at(point: int, story: str, folder: Path, *, repeat: bool) -> str | None:
    """Run a story that dies at a point, set it right, check it; return the point's name, or None past the last."""
    prepare, act, ends = STORIES[story]
    async with orders_world(folder) as world:
        order_id = await prepare(world)
        fuse = Fuse(dies_at=point)
        world.store, world.ledger = MortalStore(world.real_store, fuse), MortalLedger(world.bank, fuse)
        try:
            await act(world, order_id)
        except ProcessDied as died:
            name = str(died)
        except Exception:  # noqa: BLE001 - a refusal is how some stories end
            return None
        else:
            return None
        world.store, world.ledger = world.real_store, world.bank
        if repeat:
            await world.clock.advance(31)
            await _repeat(world, act, order_id)
        await world.settle()
        await world.finish(after_seconds=901, passes=3)
        await world.settle()
        await world.reconcile(after_seconds=61)
        for order in await world.all_orders():
            assert order.state in ends, (name, order.state)
        await world.assert_agreed()
        assert await world.found() == []
        return name


async def _repeat(world: OrdersWorld, act: Act, order_id: UUID) -> None:
    """The caller, who got no answer, asks again with the same key: an answer or a refusal, and the same one after."""
    answers = []
    for _ in range(2):
        try:
            await act(world, order_id)
            answers.append("done")
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same again
            answers.append(repr(error))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("repeat", [False, True], ids=["nobody asks again", "the caller asks again"])
@pytest.mark.parametrize("story", list(STORIES))
async def test_wherever_the_process_dies_orders_stock_and_ledger_agree_in_the_end(
    story: str,
    *,
    repeat: bool,
    tmp_path: Path,
) -> None:
    died_at = []
    for point in range(POINTS_MAX):
        name = await die_at(point, story, tmp_path / str(point), repeat=repeat)
        if name is None:
            break
        died_at.append(name)

    assert len(died_at) >= 2
    assert len(died_at) < POINTS_MAX
    assert {"before a commit", "after a commit"} <= set(died_at)


async def test_a_reconciler_that_dies_is_followed_by_one_that_does_not(tmp_path: Path) -> None:
    for point in range(POINTS_MAX):
        async with orders_world(tmp_path / str(point)) as world:
            await a_captured_order(world)
            await world.place(key="two", capture=CaptureMode.MANUAL, lines=(("tea", 1),))
            fuse = Fuse(dies_at=point)
            world.store, world.ledger = MortalStore(world.real_store, fuse), MortalLedger(world.bank, fuse)
            try:
                await world.finish(after_seconds=901)
            except ProcessDied:
                pass
            else:
                assert point > 5
                return
            world.store, world.ledger = world.real_store, world.bank
            await world.finish(after_seconds=901, passes=2)
            await world.assert_agreed()
    pytest.fail("the reconciler has more points than were tried")
