from uuid import UUID

import pytest

from services.orders.domain.hold import HoldState
from services.orders.use_cases.release_lost_hold import release_lost_hold
from services.runtime.errors import ConflictError, NotFoundError, RefusedError
from services.runtime.ids import new_id
from tests.support.orders_world import FUNDS_MINOR, OrdersWorld


async def lose(world: OrdersWorld, order_id: UUID) -> None:
    """Forget an order, as after a restore from a copy of before."""
    async with world.database.transaction() as connection:
        for table in ("orders", "order_lines", "order_history"):
            await connection.execute(f"DELETE FROM {table} WHERE order_id = $1", order_id)  # noqa: S608 - a test's own


async def test_money_that_is_held_for_a_lost_order_is_let_go(world: OrdersWorld) -> None:
    order_id = (await world.place()).order.order_id
    await lose(world, order_id)

    released = [await release_lost_hold(order_id, store=world.store, ledger=world.ledger) for _ in range(2)]

    assert [(hold.state, hold.remaining_minor) for hold in released] == [(HoldState.VOIDED, 0)] * 2
    assert world.bank.available[world.buyer.user_id] == FUNDS_MINOR


async def test_what_is_held_for_an_order_that_is_there_stays(world: OrdersWorld) -> None:
    order_id = (await world.place()).order.order_id

    with pytest.raises(ConflictError, match="There is such an order"):
        await release_lost_hold(order_id, store=world.store, ledger=world.ledger)

    assert world.bank.holds[order_id].state is HoldState.COMMITTED


async def test_what_was_captured_for_a_lost_order_is_left_to_the_treasury(world: OrdersWorld) -> None:
    order_id = (await world.place()).order.order_id
    await world.capture()
    await lose(world, order_id)

    with pytest.raises(RefusedError, match="captured"):
        await release_lost_hold(order_id, store=world.store, ledger=world.ledger)


async def test_where_nothing_is_held_no_tombstone_is_left(world: OrdersWorld) -> None:
    order_id = new_id()

    with pytest.raises(NotFoundError):
        await release_lost_hold(order_id, store=world.store, ledger=world.ledger)

    assert order_id not in world.bank.holds
