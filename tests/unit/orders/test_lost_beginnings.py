"""The connection is lost as a request begins: whether it did isn't known, and the request itself finds out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import pytest

from services.orders.domain.hold import Hold
from services.orders.domain.order import CaptureMode, Order
from services.orders.domain.order_state import OrderState
from services.orders.ports import Rows, Store
from services.orders.use_cases.once import Answer
from services.orders.use_cases.placing_together import PlacingTogether
from services.runtime.errors import ConflictError, UnavailableError
from tests.support.crashes import Fuse, MortalLedger, ProcessDied
from tests.support.fake_ledger import FakeLedger
from tests.support.orders_world import FUNDS_MINOR, STOCK, TERMS, OrdersWorld

Meanwhile = Callable[[], Awaitable[object]]


async def nothing() -> None:
    """Nothing happens meanwhile."""


class LosingStore:
    """A store of which some transactions' ends are never heard of; something else may happen meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.losses = 1
        self.commits = True
        self.meanwhile: Meanwhile = nothing

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        is_lost, self.losses = self.losses > 0, self.losses - 1
        if not is_lost:
            async with self._store.transaction() as rows:
                yield rows
            return
        error = UnavailableError("the connection was lost at COMMIT", reason="transaction_outcome_unknown")
        try:
            async with self._store.transaction() as rows:
                yield rows
                if not self.commits:
                    raise error
        except UnavailableError:
            await self.meanwhile()
            raise
        await self.meanwhile()
        raise error


class HangingLedger(FakeLedger):
    """A ledger whose holds wait for a test, and then fail."""

    def __init__(self, world: OrdersWorld) -> None:
        super().__init__(world.clock)
        self.is_away = True
        self.is_asked = asyncio.Event()
        self.may_fail = asyncio.Event()

    async def reserve_funds(self, order: Order, *, buyer_token: str, expires_at: datetime) -> Hold:
        self.is_asked.set()
        await self.may_fail.wait()
        return await super().reserve_funds(order, buyer_token=buyer_token, expires_at=expires_at)


@pytest.fixture
def store(world: OrdersWorld) -> LosingStore:
    return LosingStore(world.real_store)


@pytest.fixture(params=["alone", "together"])
def placing_world(world: OrdersWorld, store: LosingStore, request: pytest.FixtureRequest) -> OrdersWorld:
    """Lose the next commit, of one order or of a batch of them."""
    if request.param == "together":
        world.placing = PlacingTogether(store=store, clock=world.clock, terms=TERMS, together_max=8)
    return world


async def a_reserved_order(world: OrdersWorld) -> UUID:
    return (await world.place(key="before", capture=CaptureMode.MANUAL)).order.order_id


async def a_settled_order(world: OrdersWorld) -> UUID:
    order_id = (await world.place(key="before")).order.order_id
    await world.settle()
    return order_id


Act = Callable[[OrdersWorld, UUID], Awaitable[Answer]]

STORIES: dict[str, tuple[Callable[[OrdersWorld], Awaitable[UUID]], Act, OrderState]] = {
    "confirm": (a_reserved_order, lambda world, order_id: world.confirm(order_id), OrderState.CONFIRMED),
    "cancel": (a_reserved_order, lambda world, order_id: world.cancel(order_id), OrderState.CANCELLED),
    "refund": (a_settled_order, lambda world, order_id: world.refund(order_id), OrderState.REFUNDED),
}


@pytest.mark.parametrize("commits", [True, False], ids=["begun", "not begun"])
async def test_an_order_whose_beginning_was_not_answered_is_placed_once(
    placing_world: OrdersWorld, store: LosingStore, *, commits: bool
) -> None:
    placing_world.store, store.commits = store, commits

    answer = await placing_world.place()
    again = await placing_world.place()
    await placing_world.settle()

    assert (answer.order.state, answer.replayed) == (OrderState.CONFIRMED, False)
    assert (again.order.order_id, again.replayed) == (answer.order.order_id, True)
    assert len(await placing_world.all_orders()) == 1
    assert await placing_world.stock() == STOCK - 2
    await placing_world.assert_agreed()


@pytest.mark.parametrize("commits", [True, False], ids=["begun", "not begun"])
@pytest.mark.parametrize("story", list(STORIES))
async def test_what_was_begun_without_an_answer_is_done_once(
    world: OrdersWorld, store: LosingStore, story: str, *, commits: bool
) -> None:
    prepare, act, end = STORIES[story]
    order_id = await prepare(world)
    world.store, store.commits = store, commits

    answer = await act(world, order_id)
    again = await act(world, order_id)
    await world.settle()

    assert (answer.order.state, answer.replayed) == (end, False)
    assert again.replayed
    await world.assert_agreed()


async def test_a_taken_over_request_whose_lease_was_not_answered_goes_on(
    placing_world: OrdersWorld, store: LosingStore
) -> None:
    placing_world.bank.is_away = True
    with pytest.raises(UnavailableError):
        await placing_world.place()
    placing_world.bank.is_away = False
    placing_world.store = store

    answer = await placing_world.place()

    assert answer.order.state is OrderState.CONFIRMED
    assert len(await placing_world.all_orders()) == 1


async def test_a_lost_connection_that_stays_lost_is_told(placing_world: OrdersWorld, store: LosingStore) -> None:
    placing_world.store, store.losses, store.commits = store, 1_000, False

    with pytest.raises(UnavailableError) as lost:
        await placing_world.place()

    assert lost.value.reason == "transaction_outcome_unknown"
    assert await placing_world.all_orders() == []


async def test_a_second_request_with_the_key_waits_for_one_that_was_begun_without_an_answer(
    placing_world: OrdersWorld, store: LosingStore
) -> None:
    told: list[str] = []

    async def the_second_comes() -> None:
        with pytest.raises(ConflictError) as conflict:
            await placing_world.place()
        told.append(conflict.value.reason)

    placing_world.store, store.meanwhile = store, the_second_comes

    answer = await placing_world.place()

    assert told == ["request_in_flight"]
    assert answer.order.state is OrderState.CONFIRMED
    assert placing_world.bank.available[placing_world.buyer.user_id] == FUNDS_MINOR - 3_000


async def test_who_did_not_begin_after_all_waits_for_the_one_who_did(
    placing_world: OrdersWorld, store: LosingStore
) -> None:
    """The second request's process dies at the ledger: its lease stands, and the first doesn't work beside it."""

    async def the_second_begins() -> None:
        placing_world.ledger = MortalLedger(placing_world.bank, Fuse(dies_at=0))
        with pytest.raises(ProcessDied):
            await placing_world.place()
        placing_world.ledger = placing_world.bank

    placing_world.store, store.commits, store.meanwhile = store, False, the_second_begins

    for _ in range(2):
        with pytest.raises(ConflictError) as conflict:
            await placing_world.place()
        assert conflict.value.reason == "request_in_flight"

    assert placing_world.bank.holds == {}
    assert len(await placing_world.all_orders()) == 1


async def test_a_request_past_its_lease_does_not_free_the_key_of_the_one_that_took_over(world: OrdersWorld) -> None:
    first_ledger, second_ledger = HangingLedger(world), HangingLedger(world)
    world.ledger = first_ledger
    first = asyncio.create_task(world.place())
    await first_ledger.is_asked.wait()
    await world.clock.advance(TERMS.request_lease.total_seconds())
    world.ledger = second_ledger
    second = asyncio.create_task(world.place())
    await second_ledger.is_asked.wait()
    first_ledger.may_fail.set()
    await asyncio.wait({first})
    world.ledger = world.bank

    with pytest.raises(ConflictError) as conflict:
        await world.place()
    second_ledger.may_fail.set()
    await asyncio.wait({second})
    answer = await world.place()

    assert isinstance(first.exception(), UnavailableError)
    assert isinstance(second.exception(), UnavailableError)
    assert conflict.value.reason == "request_in_flight"
    assert answer.order.state is OrderState.CONFIRMED
