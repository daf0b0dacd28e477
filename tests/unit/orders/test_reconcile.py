"""Orders against the ledger: what one of the two lost is found, healed where there is no doubt, and told otherwise."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from services.money import Money
from services.orders.comparison import Comparison
from services.orders.domain.discrepancy import DiscrepancyKind, OrderSums, discrepancy_of
from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order import CaptureMode
from services.orders.domain.order_state import OrderState
from services.orders.inbound.reconciling_loop import ReconcilingLoop, ReconcilingMetrics
from services.orders.outbound.comparison_rows import ORDERS_A_STEP_MAX
from services.orders.use_cases.forget_healed import forget_healed
from services.orders.use_cases.reconcile_orders import Scope, reconcile_step
from services.runtime.errors import UnavailableError
from services.runtime.ids import first_id_of, new_id
from tests.support.clock import START, VirtualClock
from tests.support.crashes import Fuse, MortalLedger, MortalStore, ProcessDied
from tests.support.orders_world import EVERYTHING, OrdersWorld, refund_credited
from tests.support.waiting import eventually

K = DiscrepancyKind
S = OrderState


async def a_settled_order(world: OrdersWorld, key: str = "place") -> UUID:
    order_id = (await world.place(key=key)).order.order_id
    await world.settle()
    return order_id


async def set_columns(world: OrdersWorld, order_id: UUID, **columns: object) -> None:
    async with world.database.transaction() as connection:
        for name, value in columns.items():
            await connection.execute(f"UPDATE orders SET {name} = $1 WHERE order_id = $2", value, order_id)  # noqa: S608 - names of this file


def metric(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def a_loop(world: OrdersWorld, registry: CollectorRegistry, *, pause_seconds: float) -> ReconcilingLoop:
    return ReconcilingLoop(
        store=world.store,
        reads=world.recovery,
        ledger=world.ledger,
        clock=world.clock,
        metrics=ReconcilingMetrics(registry),
        pause_seconds=pause_seconds,
        scopes=(EVERYTHING,),
    )


@asynccontextmanager
async def running(loop: ReconcilingLoop) -> AsyncIterator[None]:
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_orders_that_agree_with_the_ledger_are_compared_and_nothing_is_noted(world: OrdersWorld) -> None:
    for number in range(3):
        await a_settled_order(world, f"place-{number}")
    await world.cancel((await world.place(key="cancelled")).order.order_id)
    await world.place(key="waits", capture=CaptureMode.MANUAL, lines=(("tea", 1),))

    (step,) = await world.reconcile()

    assert step.compared == 5
    assert not step.found
    assert await world.recovery.open_discrepancies() == {}


async def test_a_capture_whose_event_was_lost_settles_the_order(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.capture()

    (step,) = await world.reconcile()

    assert [one.kind for one in step.healed] == [K.CAPTURE_MISSED]
    assert (await world.order(placed.order.order_id)).state is S.SETTLED
    assert await world.found() == []
    await world.assert_agreed()


async def test_a_confirmation_that_the_ledger_never_heard_is_told_again_and_captured_once(world: OrdersWorld) -> None:
    placed = await world.place()
    lost = await world.confirmed_events()

    first = await world.found(after_seconds=301)
    told_again = await world.capture()
    await world.deliver(told_again)
    second = await world.found()

    assert len(lost) == len(told_again) == 1
    assert (first, second) == ([K.CAPTURE_OVERDUE], [])
    assert (await world.order(placed.order.order_id)).state is S.SETTLED
    assert await world.recovery.open_discrepancies() == {}
    await world.assert_agreed()


async def test_a_confirmation_that_nobody_captures_is_told_again_only_once(world: OrdersWorld) -> None:
    await world.place()
    await world.confirmed_events()

    found = [await world.found(after_seconds=301) for _ in range(3)]

    assert found == [[K.CAPTURE_OVERDUE]] * 3
    assert len(await world.confirmed_events()) == 1
    assert await world.recovery.open_discrepancies() == {K.CAPTURE_OVERDUE: 1}


async def test_a_person_has_a_capture_asked_for_again_whose_events_were_all_lost(world: OrdersWorld) -> None:
    order_id = (await world.place()).order.order_id
    await world.found(after_seconds=301)
    await world.confirmed_events()
    comparison = Comparison(store=world.real_store, reads=world.recovery, ledger=world.ledger, clock=world.clock)

    async def compare(*, heals: bool) -> list[DiscrepancyKind]:
        return [one.kind async for page in comparison.run(heals=heals, told=lambda *_: None) for one in page.found]

    looked = await compare(heals=False)
    told_by_a_look = await world.confirmed_events()
    asked = await compare(heals=True)
    await world.settle()

    assert (looked, asked, told_by_a_look) == ([K.CAPTURE_OVERDUE], [K.CAPTURE_OVERDUE], [])
    assert (await world.order(order_id)).state is S.SETTLED
    assert await world.found() == []
    await world.assert_agreed()


async def test_a_reversal_by_the_treasury_reaches_the_order_by_its_event(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)

    await world.deliver([refund_credited(world.bank.reverse(order_id))])

    order = await world.order(order_id)
    assert (order.state, order.refunded) == (S.REFUNDED, order.captured)
    last = (await world.recovery.history(order_id))[-1]
    assert (last.moved_by, last.reason, last.journal_sequence) == (
        "ledger",
        "refunded_by_ledger",
        world.bank.holds[order_id].journal_sequence,
    )
    await world.assert_agreed()


async def test_a_reversal_whose_event_was_lost_reaches_the_order_by_comparison(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)
    world.bank.reverse(order_id)

    found = await world.found()

    assert found == [K.REFUND_MISSED]
    assert (await world.order(order_id)).state is S.REFUNDED
    assert await world.found() == []
    await world.assert_agreed()


async def test_a_reversal_of_what_is_left_after_a_refund_is_followed(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)
    await world.refund(order_id, lines=((1, 1),))
    world.bank.reverse(order_id)

    await world.reconcile()

    order = await world.order(order_id)
    assert (order.state, order.refunded) == (S.REFUNDED, order.captured)
    await world.assert_agreed()


@pytest.mark.parametrize("ends_by", ["refund", "cancel"])
async def test_a_refund_that_got_lost_here_leaves_the_rest_to_be_given_back(world: OrdersWorld, ends_by: str) -> None:
    order_id = (await world.place(lines=(("tea", 2),))).order.order_id
    await world.settle()
    await world.forgotten_refund(order_id, {1: 1})

    assert await world.found() == [K.REFUND_MISSED]
    healed = await world.order(order_id)
    await (world.refund(order_id) if ends_by == "refund" else world.cancel(order_id))

    assert (healed.state, healed.refunded, healed.lines[0].refunded_minor) == (
        S.PARTIALLY_REFUNDED,
        Money(1_000, "EUR"),
        1_000,
    )
    assert (await world.order(order_id)).state is S.REFUNDED
    assert world.bank.refunded_by(order_id) == {world.seller.user_id: 2_000}
    await world.assert_agreed()


@pytest.mark.parametrize("line_number", [1, 2])
async def test_a_refund_that_got_lost_here_is_of_the_seller_that_the_ledger_names(
    world: OrdersWorld, line_number: int
) -> None:
    order_id = await a_settled_order(world)
    await world.forgotten_refund(order_id, {line_number: 1})

    await world.reconcile()
    order = await world.order(order_id)
    await world.refund(order_id)

    assert [line.refunded_minor for line in order.lines] == [1_000 * (line_number == number) for number in (1, 2)]
    assert (await world.order(order_id)).state is S.REFUNDED
    await world.assert_agreed()


async def test_an_event_that_does_not_tell_whose_refund_got_lost_waits_for_the_comparison(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)
    hold = await world.forgotten_refund(order_id, {2: 1})

    await world.deliver([refund_credited(hold)])
    before = await world.order(order_id)

    assert before.state is S.SETTLED
    assert await world.found() == [K.REFUND_MISSED]
    assert [line.refunded_minor for line in (await world.order(order_id)).lines] == [0, 1_000]
    await world.assert_agreed()


async def test_an_event_of_a_refund_that_can_be_only_one_sellers_is_followed_at_once(world: OrdersWorld) -> None:
    order_id = (await world.place(lines=(("tea", 2),))).order.order_id
    await world.settle()

    await world.deliver([refund_credited(await world.forgotten_refund(order_id, {1: 1}))])

    assert (await world.order(order_id)).lines[0].refunded_minor == 1_000
    await world.assert_agreed()


async def test_a_ledger_that_names_no_sellers_yet_leaves_the_order_to_be_healed_later(world: OrdersWorld) -> None:
    class OlderLedger(MortalLedger):
        async def find_hold(self, order_id: UUID) -> Hold | None:
            hold = await super().find_hold(order_id)
            return hold and replace(hold, refunded_by=None)

    order_id = await a_settled_order(world)
    await world.forgotten_refund(order_id, {2: 1})
    world.ledger = OlderLedger(world.bank, Fuse())
    older = await world.found(), (await world.order(order_id)).state
    world.ledger = world.bank

    assert older == ([K.REFUND_MISSED], S.SETTLED)
    assert await world.found() == [K.REFUND_MISSED]
    assert await world.found() == []
    await world.assert_agreed()


async def test_an_event_about_a_refund_that_orders_asked_for_changes_nothing(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)
    await world.refund(order_id, lines=((1, 1),))
    before = await world.order(order_id)

    await world.deliver([refund_credited(world.bank.holds[order_id])])

    assert await world.order(order_id) == before


async def test_money_that_is_still_held_for_an_order_that_is_over_is_freed(world: OrdersWorld) -> None:
    placed = await world.place()
    await set_columns(world, placed.order.order_id, state="CANCELLED")

    found = await world.found()

    assert found == [K.MONEY_HELD]
    assert world.bank.holds[placed.order.order_id].state is HoldState.VOIDED
    assert await world.found() == []


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"state": "CANCELLED", "captured_minor": 0}, K.CAPTURED_UNSOLD),
        ({"captured_minor": 2_999}, K.CAPTURE_DIFFERS),
        ({"refunded_minor": 1_000, "state": "PARTIALLY_REFUNDED"}, K.REFUND_MISSING),
        ({"buyer_id": UUID(int=7)}, K.HOLD_FOREIGN),
        ({}, K.HOLD_MISSING),
        ({"state": "CANCELLING"}, K.ORDER_OVERDUE),
    ],
    ids=lambda value: value.value if isinstance(value, K) else "",
)
async def test_what_nobody_can_decide_is_told_and_left_as_it_is(
    world: OrdersWorld, columns: dict[str, Any], kind: DiscrepancyKind
) -> None:
    order_id = await a_settled_order(world)
    if kind is K.HOLD_MISSING:
        del world.bank.holds[order_id]
    await set_columns(world, order_id, **columns)
    holds = dict(world.bank.holds)

    for _ in range(2):
        assert await world.found(after_seconds=301) == [kind]

    (noted,) = await world.recovery.discrepancies(healed=False, kind=None, after=None, rows_max=10)
    assert (noted.kind, noted.seen, noted.healed_at) == (kind, 2, None)
    assert noted.first_seen_at < noted.last_seen_at
    assert noted.order is not None
    assert (noted.hold is None) == (kind in {K.HOLD_MISSING, K.ORDER_OVERDUE})
    assert await world.recovery.open_discrepancies() == {kind: 1}
    assert world.bank.holds == holds


async def test_a_discrepancy_that_is_over_is_marked_as_healed_and_comes_back_when_it_does(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)
    await set_columns(world, order_id, captured_minor=2_999)
    await world.reconcile()
    await set_columns(world, order_id, captured_minor=3_000)

    await world.reconcile()
    healed = await world.recovery.discrepancies(healed=True, kind=K.CAPTURE_DIFFERS, after=None, rows_max=10)
    progress = await world.recovery.progress()
    await set_columns(world, order_id, captured_minor=2_999)
    await world.reconcile()

    assert len(healed) == 1
    assert healed[0].healed_at is not None
    assert progress.last_healed_at == healed[0].healed_at
    (again,) = await world.recovery.discrepancies(healed=False, kind=None, after=None, rows_max=10)
    assert again.seen == 2


async def test_what_was_healed_long_ago_is_forgotten_and_what_is_open_stays(world: OrdersWorld) -> None:
    healed, still_open = await a_settled_order(world, "healed"), await a_settled_order(world, "open")
    for order_id in (healed, still_open):
        await set_columns(world, order_id, captured_minor=2_999)
    await world.reconcile()
    await set_columns(world, healed, captured_minor=3_000)
    await world.reconcile()

    async def noted() -> set[UUID]:
        async with world.database.snapshot() as connection:
            return {row[0] for row in await connection.fetch("SELECT order_id FROM discrepancies")}

    async def forget() -> int:
        return await forget_healed(store=world.store, clock=world.clock, retention=timedelta(days=90))

    young = await forget(), await noted()
    world.clock._now += timedelta(days=91)
    old = await forget(), await noted()

    assert young == (0, {healed, still_open})
    assert old == (1, {still_open})


async def test_an_order_that_moved_a_moment_ago_is_left_for_later(world: OrdersWorld) -> None:
    await world.place()
    await world.capture()

    (step,) = await world.reconcile(after_seconds=9)

    assert step.compared == 0
    assert await world.found(after_seconds=2) == [K.CAPTURE_MISSED]


async def test_an_order_that_moved_while_it_was_compared_is_neither_healed_nor_told(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)
    world.bank.reverse(order_id)
    await world.clock.advance(11)
    reversed_hold = world.bank.holds[order_id]

    class MovingLedger(MortalLedger):
        async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
            await set_columns(world, order_id, version=99)
            return dict.fromkeys(order_ids, reversed_hold)

    world.ledger = MovingLedger(world.bank, Fuse())
    (step,) = await world.reconcile(after_seconds=0)

    assert not step.found
    assert not step.healed
    assert (await world.order(order_id)).state is S.SETTLED
    assert await world.recovery.open_discrepancies() == {}


async def test_reconcile_without_healing_tells_nothing_of_an_order_that_moved_meanwhile(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)
    world.bank.reverse(order_id)
    await world.clock.advance(11)

    class MovingLedger(MortalLedger):
        moves = False

        async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
            if self.moves:
                await set_columns(world, order_id, version=99)
            return await super().find_holds(order_ids)

    async def found() -> list[DiscrepancyKind]:
        comparison = Comparison(store=world.real_store, reads=world.recovery, ledger=ledger, clock=world.clock)
        pages = [page async for page in comparison.run(heals=False, told=lambda _done, _total: None)]
        return [one.kind for page in pages for one in page.found]

    ledger = MovingLedger(world.bank, Fuse())
    at_rest = await found()
    ledger.moves = True
    moving = await found()

    assert (at_rest, moving) == ([K.REFUND_MISSED], [])


async def test_while_the_ledger_is_away_nothing_is_noted_and_the_same_step_comes_again(world: OrdersWorld) -> None:
    await world.place()
    await world.capture()
    await world.clock.advance(11)
    world.bank.is_away = True
    with pytest.raises(UnavailableError):
        await reconcile_step(EVERYTHING, store=world.store, ledger=world.ledger, clock=world.clock)
    world.bank.is_away = False

    at_once = await world.found(after_seconds=0)
    later = await world.found(after_seconds=61)

    assert (at_once, later) == ([], [K.CAPTURE_MISSED])


async def test_two_replicas_take_turns_and_a_step_that_took_too_long_moves_nothing(world: OrdersWorld) -> None:
    async with world.store.transaction() as rows:
        slow = await rows.comparisons.take(
            "all", world.clock.now(), round_from=UUID(int=0), round_pause=timedelta(seconds=1)
        )
    assert slow is not None
    assert await world.reconcile() == []
    await a_settled_order(world)

    await world.reconcile(after_seconds=61)
    before = await world.recovery.progress()
    async with world.store.transaction() as rows:
        await rows.comparisons.finish(slow)

    assert await world.recovery.progress() == before


async def test_a_replica_with_a_clock_ahead_leaves_nobody_waiting(world: OrdersWorld) -> None:
    await world.place()
    ahead = VirtualClock(START + timedelta(days=1))
    while await reconcile_step(EVERYTHING, store=world.store, ledger=world.ledger, clock=ahead):
        pass

    assert [step.compared for step in await world.reconcile()] == [1]

    async with world.store.transaction() as rows:
        await rows.comparisons.take("all", ahead.now(), round_from=UUID(int=0), round_pause=timedelta(seconds=1))
    assert next(step.compared for step in await world.reconcile()) == 1


async def test_a_round_goes_through_all_orders_step_by_step_and_the_next_one_waits(world: OrdersWorld) -> None:
    world.bank.available[world.buyer.user_id] = 10_000_000
    for number in range(ORDERS_A_STEP_MAX + 5):
        await world.place(key=f"place-{number}", lines=(("cup", 1),))
    await world.settle()

    steps = await world.reconcile()
    soon = await world.reconcile(after_seconds=0)
    next_round = await world.reconcile(after_seconds=1)

    assert [step.compared for step in steps] == [ORDERS_A_STEP_MAX, 5]
    assert soon == []
    assert sum(step.compared for step in next_round) == ORDERS_A_STEP_MAX + 5


async def test_a_step_that_leaves_some_is_followed_by_the_next_without_the_pause(world: OrdersWorld) -> None:
    world.bank.available[world.buyer.user_id] = 10_000_000
    orders = 2 * ORDERS_A_STEP_MAX + 5
    for number in range(orders):
        await world.place(key=f"place-{number}", lines=(("cup", 1),))
    await world.settle()
    await world.clock.advance(11)
    registry = CollectorRegistry()
    loop = a_loop(world, registry, pause_seconds=60)

    async with running(loop):
        await eventually(lambda: metric(registry, "tradeflow_orders_compared_total", scope="all") == orders)
        await eventually(lambda: world.clock.sleepers > 0)

    assert world.clock.now() == START + timedelta(seconds=11), "all of it without the pause, which comes in the end"


async def test_a_step_that_leaves_some_is_followed_by_as_long_a_rest_as_it_took(world: OrdersWorld) -> None:
    world.bank.available[world.buyer.user_id] = 10_000_000
    for number in range(2 * ORDERS_A_STEP_MAX + 5):
        await world.place(key=f"place-{number}", lines=(("cup", 1),))
    await world.settle()
    await world.clock.advance(11)

    class SlowLedger(MortalLedger):
        asked = 0

        async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
            self.asked += 1
            if self.asked == 1:
                await world.clock.advance(2)
            return await super().find_holds(order_ids)

    world.ledger = SlowLedger(world.bank, Fuse())
    registry = CollectorRegistry()
    loop = a_loop(world, registry, pause_seconds=60)

    def compared() -> float | None:
        return metric(registry, "tradeflow_orders_compared_total", scope="all")

    async with running(loop):
        await eventually(lambda: compared() == ORDERS_A_STEP_MAX and world.clock.sleepers > 0)
        await world.clock.advance(1.9)
        rested = compared()
        await world.clock.advance(0.2)
        await eventually(lambda: compared() != rested)

    assert rested == ORDERS_A_STEP_MAX


async def test_a_round_ends_though_orders_come_faster_than_they_are_compared(world: OrdersWorld) -> None:
    world.bank.available[world.buyer.user_id] = 10_000_000

    async def place_some(key: str) -> None:
        for number in range(ORDERS_A_STEP_MAX + 1):
            await world.place(key=f"{key}-{number}", lines=(("cup", 1),))

    async def step() -> bool:
        taken = await reconcile_step(EVERYTHING, store=world.store, ledger=world.ledger, clock=world.clock)
        assert taken is not None
        return taken.ends_round

    await place_some("before")
    await world.clock.advance(11)
    first = await step()
    await world.clock.advance(1)
    await place_some("meanwhile")
    second = await step()

    assert (first, second) == (False, True)
    assert [one.compared_at for one in (await world.recovery.progress()).rounds] == [START + timedelta(seconds=11)]


async def test_the_recent_scope_begins_with_the_ids_of_its_window() -> None:
    recent = Scope(name="recent", window=timedelta(hours=1), pause=timedelta(0))

    assert recent.begins_after(START) == first_id_of(START - timedelta(hours=1))
    assert recent.begins_after(START) < first_id_of(START) < new_id()


async def test_the_loop_shows_what_is_open_and_how_old_the_last_round_is(world: OrdersWorld) -> None:
    order_id = await a_settled_order(world)
    await set_columns(world, order_id, captured_minor=2_999)
    registry = CollectorRegistry()
    loop = a_loop(world, registry, pause_seconds=1)
    await world.clock.advance(11)

    await loop.step()
    await world.clock.advance(0.5)
    await loop.step()

    assert metric(registry, "tradeflow_orders_discrepancies", kind="capture_differs") == 1
    assert metric(registry, "tradeflow_orders_discrepancies", kind="refund_missed") == 0
    assert metric(registry, "tradeflow_orders_reconciled_age_seconds", scope="all") == 0.5
    assert metric(registry, "tradeflow_orders_compared_total", scope="all") == 1
    await world.clock.advance(600)
    assert metric(registry, "tradeflow_orders_reconciled_age_seconds", scope="all") == 600.5, "though nobody could look"


@pytest.mark.parametrize("repair", ["capture", "reversal", "held"])
async def test_a_comparison_that_dies_anywhere_is_made_up_for_by_the_next(world: OrdersWorld, repair: str) -> None:
    async def break_something(point: int) -> None:
        placed = await world.place(key=f"place-{point}", lines=(("cup", 1),))
        match repair:
            case "capture":
                await world.capture()
            case "reversal":
                await world.settle()
                world.bank.reverse(placed.order.order_id)
            case _:
                await set_columns(world, placed.order.order_id, state="CANCELLED")

    points = 0
    for point in range(40):
        await break_something(point)
        fuse = Fuse(dies_at=point)
        world.store, world.ledger = MortalStore(world.real_store, fuse), MortalLedger(world.bank, fuse)
        try:
            await world.reconcile()
        except ProcessDied:
            points += 1
        world.store, world.ledger = world.real_store, world.bank
        await world.reconcile(after_seconds=61)
        assert await world.found() == []
        assert await world.recovery.open_discrepancies() == {}

    assert points >= 6


@pytest.mark.parametrize("state", list(OrderState), ids=lambda state: state.value)
def test_every_state_is_compared_with_every_hold_without_an_error(state: OrderState) -> None:
    buyer_id = UUID(int=1)
    order = OrderSums(
        order_id=UUID(int=2),
        version=3,
        state=state,
        buyer_id=buyer_id,
        currency="EUR",
        captured_minor=0,
        refunded_minor=0,
        created_at=START,
        updated_at=START,
        expires_at=START + timedelta(minutes=15),
    )
    hold = Hold(
        hold_id=order.order_id,
        state=HoldState.OPEN,
        held_minor=10,
        captured_minor=0,
        voided_minor=0,
        remaining_minor=10,
        refunded_minor=0,
        wallet_id=buyer_id,
        currency="EUR",
    )
    kinds = {
        hold_state: discrepancy_of(order, replace(hold, state=hold_state), START + timedelta(hours=1))
        for hold_state in HoldState
    }

    assert all(one is None or one.message.startswith(one.kind.sentence) for one in kinds.values())
    assert (kinds[HoldState.TOMBSTONE] is None) == (discrepancy_of(order, None, START + timedelta(hours=1)) is None)
