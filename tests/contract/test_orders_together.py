"""Orders of many buyers in common transactions, on every database: one commit, and nobody's refusal is another's."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from services.orders.domain.order import CaptureMode
from services.orders.domain.order_state import OrderState
from services.orders.ports import Rows, Store
from services.orders.use_cases.once import Answer
from services.orders.use_cases.placing_together import LINES_TOGETHER_MAX, PlacingTogether
from services.runtime.errors import RefusedError, UnavailableError
from tests.support.orders_world import FUNDS_MINOR, PRICE, STOCK, TERMS, OrdersWorld, orders_world


@dataclass
class CountingStore:
    """Counts transactions; by their numbers some are rolled back by an error, or end in one after they committed."""

    store: Store
    commits: int = 0
    rolled_back: dict[int, Exception] = field(default_factory=dict)
    unanswered: dict[int, Exception] = field(default_factory=dict)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        number, self.commits = self.commits, self.commits + 1
        async with self.store.transaction() as rows:
            yield rows
            if number in self.rolled_back:
                raise self.rolled_back[number]
        if number in self.unanswered:
            raise self.unanswered[number]


def unavailable(reason: str) -> UnavailableError:
    return UnavailableError("gone", reason=reason)


LOST = {"commit": "rolled_back", "answer": "unanswered"}


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


@pytest.fixture
def store(world: OrdersWorld) -> Iterator[CountingStore]:
    counting = CountingStore(world.real_store)
    world.store = counting
    world.placing = PlacingTogether(store=counting, clock=world.clock, terms=TERMS, together_max=64)
    yield counting
    world.store = world.real_store


async def place_many(world: OrdersWorld, count: int, *, sku: str = "cup") -> list[Answer | BaseException]:
    return await asyncio.gather(
        *(world.place(key=f"key-{number}", lines=((sku, 1),)) for number in range(count)), return_exceptions=True
    )


def reasons(ended: Sequence[Answer | BaseException]) -> list[str]:
    return [end.reason for end in ended if isinstance(end, RefusedError)]


async def test_orders_that_come_at_once_share_two_commits(world: OrdersWorld, store: CountingStore) -> None:
    ended = await place_many(world, 40)
    commits = store.commits
    await world.settle()

    assert [end.order.state for end in ended if isinstance(end, Answer)] == [OrderState.CONFIRMED] * 40
    assert commits == 2
    assert len(await world.all_orders()) == 40
    await world.assert_agreed()


async def test_a_long_order_shares_no_commit_with_others(world: OrdersWorld, store: CountingStore) -> None:
    skus = [f"product-{number}" for number in range(LINES_TOGETHER_MAX + 1)]
    for sku in skus:
        await world.add_product(sku, STOCK)
    buyer = await world.add_buyer(10 * len(skus) * PRICE.amount_minor)
    store.commits = 0

    async def place_long(number: int) -> Answer:
        return await world.place(key=f"long-{number}", lines=tuple((sku, 1) for sku in skus), buyer=buyer)

    async def place_all_long() -> list[Answer]:
        return await asyncio.gather(*(place_long(number) for number in range(3)))

    long, placed = await asyncio.gather(place_all_long(), place_many(world, 8))

    assert [answer.order.state for answer in long] == [OrderState.CONFIRMED] * 3
    assert not [end for end in placed if isinstance(end, BaseException)]
    assert store.commits == 2 + 3 * 2, "a beginning and a going on for all short ones, and for each long one"


async def test_who_is_refused_disturbs_nobody(world: OrdersWorld, store: CountingStore) -> None:
    mixed = [
        *(world.place(key=f"tea-{number}", lines=(("tea", 4),)) for number in range(4)),
        world.place(key="unknown", lines=(("nothing", 1),)),
        world.place(key="both", lines=(("tea", 1), ("nothing", 1))),
        *(world.place(key=f"cup-{number}", lines=(("cup", 1),)) for number in range(4)),
    ]

    ended = await asyncio.gather(*mixed, return_exceptions=True)
    again = await asyncio.gather(
        world.place(key="unknown", lines=(("nothing", 1),)), world.place(key="tea-3", lines=(("tea", 4),)),
        return_exceptions=True,
    )  # fmt: skip
    await world.settle()

    assert reasons(ended) == ["out_of_stock", "out_of_stock", "unknown_sku", "unknown_sku"]
    assert reasons(again) == ["unknown_sku", "out_of_stock"], "a refusal is the answer for good"
    assert sum(isinstance(end, Answer) for end in ended) == 6
    assert await world.stock() == STOCK - 8
    await world.assert_agreed()


async def test_who_would_pay_another_total_takes_no_stock_from_those_beside(
    world: OrdersWorld, store: CountingStore
) -> None:
    shown, outdated = PRICE * 6, PRICE * 5

    ended = await asyncio.gather(
        world.place(key="outdated", lines=(("tea", 6),), expected_total=outdated),
        world.place(key="shown", lines=(("tea", 6),), expected_total=shown),
        world.place(key="outdated-too", lines=(("tea", 4),), expected_total=outdated),
        world.place(key="silent", lines=(("tea", 4),)),
        return_exceptions=True,
    )
    commits = store.commits
    await world.settle()

    assert reasons(ended) == ["total_changed", "total_changed"]
    assert [order.total for order in await world.all_orders()] == [PRICE * 4, PRICE * 6]
    assert await world.stock() == 0
    assert commits == 2
    await world.assert_agreed()


async def test_a_key_that_was_used_is_answered_again_among_new_ones(world: OrdersWorld, store: CountingStore) -> None:
    first = await world.place(key="key-3", lines=(("cup", 1),))
    await world.settle()

    ended = await place_many(world, 8)
    await world.settle()

    answers = [end for end in ended if isinstance(end, Answer)]
    assert [answer.replayed for answer in answers] == [number == 3 for number in range(8)]
    assert answers[3].order.order_id == first.order.order_id
    assert len(await world.all_orders()) == 8
    await world.assert_agreed()


async def test_one_key_twice_at_once_is_one_order(world: OrdersWorld, store: CountingStore) -> None:
    ended = await asyncio.gather(
        *(world.place(key="same", lines=(("tea", 1),)) for _ in range(5)),
        *(world.place(key=f"key-{number}", lines=(("tea", 1),)) for number in range(3)),
        return_exceptions=True,
    )
    await world.settle()

    conflicts = [end for end in ended if isinstance(end, Exception)]
    assert {getattr(end, "reason", "") for end in conflicts} <= {"request_in_flight"}
    assert len(await world.all_orders()) == 4
    assert await world.stock() == STOCK - 4
    await world.assert_agreed()


async def test_too_little_money_rejects_one_order_alone(world: OrdersWorld, store: CountingStore) -> None:
    world.bank.available[world.buyer.user_id] = world.first_funds_minor = 3_000

    ended = await place_many(world, 5)
    await world.settle()

    assert reasons(ended) == ["insufficient_funds"] * 2
    states = sorted(order.state.value for order in await world.all_orders())
    assert states == ["REJECTED", "REJECTED", "SETTLED", "SETTLED", "SETTLED"]
    await world.assert_agreed()


async def test_manual_orders_wait_for_their_confirmation(world: OrdersWorld, store: CountingStore) -> None:
    placed = await asyncio.gather(
        *(world.place(key=f"key-{number}", capture=CaptureMode.MANUAL, lines=(("tea", 1),)) for number in range(3))
    )
    await asyncio.gather(*(world.confirm(one.order.order_id, key=f"c-{at}") for at, one in enumerate(placed)))
    await world.settle()

    assert {one.order.state for one in placed} == {OrderState.RESERVED}
    await world.assert_agreed()


@pytest.mark.parametrize("what", ["commit", "answer"])
@pytest.mark.parametrize("transaction", [0, 1])
async def test_a_lost_commit_is_made_good_by_the_same_keys(
    world: OrdersWorld, store: CountingStore, what: str, transaction: int
) -> None:
    setattr(store, LOST[what], {transaction: unavailable("database_unreachable")})

    first = await place_many(world, 6, sku="tea")
    await world.clock.advance(TERMS.request_lease.total_seconds())
    again = await place_many(world, 6, sku="tea")
    await world.settle()

    assert {getattr(end, "reason", None) for end in first} == {"database_unreachable"}
    assert all(isinstance(end, Answer) for end in again), again
    assert len(await world.all_orders()) == 6
    assert await world.stock() == STOCK - 6
    assert world.bank.available[world.buyer.user_id] == FUNDS_MINOR - 6_000
    await world.assert_agreed()


async def test_what_a_lost_batch_left_is_finished_without_its_buyers(world: OrdersWorld, store: CountingStore) -> None:
    store.rolled_back = {1: unavailable("database_unreachable")}
    await place_many(world, 6)

    await world.finish(after_seconds=30)
    await world.settle()

    assert {order.state for order in await world.all_orders()} == {OrderState.SETTLED}
    await world.assert_agreed()


@pytest.mark.parametrize("first", [0, 1], ids=["when they begin", "when they go on"])
async def test_a_batch_whose_commit_was_not_answered_finds_out_what_became_of_it(
    world: OrdersWorld, store: CountingStore, first: int
) -> None:
    store.unanswered = {first: unavailable("transaction_outcome_unknown")}

    ended = await place_many(world, 8, sku="tea")
    await world.settle()

    assert [type(end) for end in ended] == [Answer] * 8
    assert await world.stock() == STOCK - 8
    await world.assert_agreed()


@pytest.mark.parametrize("lost_half", [0, 1])
@pytest.mark.parametrize("first", [0, 1], ids=["when they begin", "when they go on"])
async def test_who_is_in_one_half_is_not_told_of_the_other_halfs_loss(
    world: OrdersWorld, store: CountingStore, first: int, lost_half: int
) -> None:
    store.rolled_back = {first: unavailable("database_busy")}
    store.unanswered = {first + 1 + lost_half: unavailable("database_unreachable")}

    ended = await place_many(world, 8)
    await world.finish(after_seconds=30)
    await world.settle()

    halves = [ended[:4], ended[4:]]
    assert [getattr(end, "reason", "placed") for end in halves[lost_half]] == ["database_unreachable"] * 4
    assert [getattr(end, "reason", "placed") for end in halves[1 - lost_half]] == ["placed"] * 4
    await world.finish(after_seconds=121)
    await world.assert_agreed()


@pytest.mark.parametrize("first", [0, 1], ids=["when they begin", "when they go on"])
async def test_an_error_that_nobody_foresaw_is_told_to_those_alone_with_whom_it_comes_again(
    world: OrdersWorld, store: CountingStore, first: int
) -> None:
    bug = ValueError("the database can't take this row")
    # All eight; the first half, and in it the first quarter, and in it the first alone.
    store.rolled_back = dict.fromkeys(range(first, first + 4), bug)

    ended = await place_many(world, 8)
    await world.finish(after_seconds=30)
    await world.settle()
    await world.finish(after_seconds=121)

    assert ended[0] is bug
    assert [type(end) for end in ended[1:]] == [Answer] * 7
    await world.assert_agreed()
