"""Crowds that place orders together, on every database: at once, with faults and deaths, and callers who leave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from services.orders.domain.order import CaptureMode
from services.orders.domain.order_state import OrderState
from services.orders.domain.wish import Wish
from services.orders.ports import Rows, Store
from services.orders.use_cases.once import Answer
from services.orders.use_cases.placing import PlaceOrder
from services.orders.use_cases.placing_together import ANSWER_SECONDS_MAX, PlacingTogether
from services.runtime.ids import new_id
from tests.support.crowd import a_random_crowd
from tests.support.crowd_stories import die_among_crowd, tell_of_crowd
from tests.support.orders_world import STOCK, TERMS, OrdersWorld, orders_world

POINTS = range(0, 36, 5)
"""Some of the points at which a batch's process can die; all are tried on SQLite alone."""

SEEDS = range(10_000, 10_012)
"""Stories that are told on SQLite nowhere else."""

CROWDS, CROWDS_AT_ONCE_MAX = 6, 8
"""How many crowds come at the same time, and how many of them share a transaction at most."""


class HeldStore:
    """Holds one transaction up, by its number, before or after it commits."""

    def __init__(self, store: Store, number: int, *, after_commit: bool = False) -> None:
        """Hold up the `number`-th, counted from 0."""
        self._store = store
        self._number = number
        self._after_commit = after_commit
        self._begun = 0
        self.reached = asyncio.Event()
        self.may_go = asyncio.Event()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        number, self._begun = self._begun, self._begun + 1
        async with self._store.transaction() as rows:
            yield rows
            if number == self._number and not self._after_commit:
                await self._hold()
        if number == self._number and self._after_commit:
            await self._hold()

    async def _hold(self) -> None:
        self.reached.set()
        await self.may_go.wait()


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


def place_together(world: OrdersWorld, store: Store, *, answer_seconds_max: float = ANSWER_SECONDS_MAX) -> None:
    world.store = store
    world.placing = PlacingTogether(
        store=store, clock=world.clock, terms=TERMS, together_max=64, answer_seconds_max=answer_seconds_max
    )


async def place_three(world: OrdersWorld) -> list[Answer | BaseException]:
    return await asyncio.gather(
        *(world.place(key=f"key-{number}", lines=(("tea", 1),)) for number in range(3)), return_exceptions=True
    )


async def test_a_batch_whose_process_dies_comes_right(world: OrdersWorld) -> None:
    for point in POINTS:
        await die_among_crowd(world, seed=1, point=point, repeat=bool(point % 2))

    assert await world.found() == []


async def test_what_is_placed_among_faults_comes_right(world: OrdersWorld) -> None:
    for seed in SEEDS:
        try:
            await tell_of_crowd(world, seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise

    assert await world.found() == []


async def test_crowds_that_come_at_once_want_the_same_and_repeat_their_keys_come_right(world: OrdersWorld) -> None:
    random = Random(1)  # noqa: S311 - a story, no secret
    world.placing = PlacingTogether(
        store=world.real_store, clock=world.clock, terms=TERMS, together_max=CROWDS_AT_ONCE_MAX
    )
    crowds = [await a_random_crowd(world, random, f"crowd-{number}") for number in range(CROWDS)]
    placements = [crowd.place(placement) for crowd in crowds for placement in [*crowd.placements] * 2]
    random.shuffle(placements)

    await asyncio.gather(*placements)
    for crowd in crowds:
        await crowd.ask_again()
    await world.settle()
    await world.finish(after_seconds=901, passes=2)

    for crowd in crowds:
        await crowd.assert_right()
    assert await world.found() == []


@pytest.mark.parametrize("after_commit", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("transaction", [0, 1])
async def test_who_got_no_answer_in_time_gets_it_with_the_same_key(
    world: OrdersWorld, transaction: int, *, after_commit: bool
) -> None:
    held = HeldStore(world.real_store, transaction, after_commit=after_commit)
    place_together(world, held, answer_seconds_max=0.5)

    first = await place_three(world)
    held.may_go.set()
    place_together(world, world.real_store)
    await world.clock.advance(TERMS.request_lease.total_seconds())
    again = await place_three(world)
    await world.settle()

    assert [getattr(end, "reason", "") for end in first] == ["deadline_exceeded"] * 3
    assert [type(end) for end in again] == [Answer] * 3
    assert len(await world.all_orders()) == 3
    assert await world.stock() == STOCK - 3
    await world.assert_agreed()


@pytest.mark.parametrize("transaction", [0, 1])
async def test_a_caller_who_leaves_while_a_batch_commits_takes_no_answer_from_the_others(
    world: OrdersWorld, transaction: int
) -> None:
    held = HeldStore(world.real_store, transaction)
    place_together(world, held)
    callers = [asyncio.create_task(world.place(key=f"key-{number}", lines=(("tea", 1),))) for number in range(3)]
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await held.reached.wait()

    callers[1].cancel()
    held.may_go.set()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    await world.finish(after_seconds=121)
    await world.settle()

    assert isinstance(ended.pop(1), asyncio.CancelledError)
    assert {end.order.state for end in ended if isinstance(end, Answer)} == {OrderState.CONFIRMED}
    states = {order.state for order in await world.all_orders()}
    assert states == ({OrderState.SETTLED, OrderState.EXPIRED} if transaction == 0 else {OrderState.SETTLED})
    await world.assert_agreed()


async def test_an_order_that_was_cancelled_before_its_batch_goes_on_stays_cancelled(world: OrdersWorld) -> None:
    placing = PlacingTogether(store=world.real_store, clock=world.clock, terms=TERMS, together_max=64)
    wanted = [
        PlaceOrder(
            buyer_id=world.buyer.user_id,
            buyer_token="the buyer's token",
            idempotency_key=f"key-{number}",
            wishes=(Wish(sku="tea", quantity=1),),
            capture=CaptureMode.AUTOMATIC,
        )
        for number in range(4)
    ]
    begun = [one.order for one in await asyncio.gather(*(placing.begin(each, holder=new_id()) for each in wanted))]
    holds = [await world.bank.reserve_funds(order, buyer_token="", expires_at=order.hold_expires_at) for order in begun]
    await world.cancel(begun[1].order_id)

    went_on = await asyncio.gather(*(placing.go_on(*each) for each in zip(wanted, begun, holds, strict=True)))
    await world.settle()

    confirmed, cancelled = OrderState.CONFIRMED, OrderState.CANCELLED
    assert [answer.order.state for answer in went_on] == [confirmed, cancelled, confirmed, confirmed]
    assert await world.stock() == STOCK - 3
    await world.assert_agreed()
