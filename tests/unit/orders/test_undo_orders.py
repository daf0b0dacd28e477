import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order import CaptureMode
from services.orders.domain.order_state import OrderState
from services.orders.domain.user import Role
from services.runtime.errors import (
    ConflictError,
    ForbiddenError,
    KeyReusedError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from tests.support.crashes import Fuse, MortalLedger
from tests.support.orders_world import STOCK, OrdersWorld, an_actor, funds_captured, settlement_refused

MANUAL = CaptureMode.MANUAL


async def test_a_confirmed_manual_order_is_captured(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)

    answer = await world.confirm(placed.order.order_id, actor=world.seller)
    await world.settle()

    assert answer.order.state is OrderState.CONFIRMED
    assert (await world.order(placed.order.order_id)).state is OrderState.SETTLED
    await world.assert_agreed()


async def test_confirming_twice_with_one_key_is_one_confirmation(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)
    await world.confirm(placed.order.order_id)

    again = await world.confirm(placed.order.order_id)

    assert again.replayed
    assert len(await world.confirmed_events()) == 1


async def test_two_who_confirm_at_once_confirm_once(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)

    answers = await asyncio.gather(
        world.confirm(placed.order.order_id),
        world.confirm(placed.order.order_id, actor=world.seller),
        return_exceptions=True,
    )

    assert len(await world.confirmed_events()) == 1
    for answer in answers:
        assert not isinstance(answer, BaseException) or isinstance(answer, RefusedError)


async def test_an_automatic_order_is_not_confirmed_again(world: OrdersWorld) -> None:
    placed = await world.place()

    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            await world.confirm(placed.order.order_id)
        assert refused.value.reason == "illegal_transition"


async def test_a_hold_that_ran_out_is_not_confirmed_and_the_order_expires(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)
    await world.clock.advance(2 * 3600)

    with pytest.raises(RefusedError) as refused:
        await world.confirm(placed.order.order_id)
    await world.finish()

    assert refused.value.reason == "hold_expired"
    assert (await world.order(placed.order.order_id)).state is OrderState.EXPIRED
    await world.assert_agreed()


@pytest.mark.parametrize("capture", list(CaptureMode))
async def test_cancelling_before_the_capture_frees_money_and_stock(world: OrdersWorld, capture: CaptureMode) -> None:
    placed = await world.place(capture=capture)

    answer = await world.cancel(placed.order.order_id)
    await world.settle()

    assert answer.order.state is OrderState.CANCELLED
    assert await world.stock() == STOCK
    assert (await world.order(placed.order.order_id)).state is OrderState.CANCELLED
    await world.assert_agreed()


async def test_cancelling_after_the_capture_refunds_everything(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()

    answer = await world.cancel(placed.order.order_id)

    assert answer.order.state is OrderState.REFUNDED
    assert await world.history(placed.order.order_id) == [
        "PENDING", "RESERVED", "CONFIRMED", "SETTLED", "REFUNDING", "REFUNDED",
    ]  # fmt: skip
    await world.assert_agreed()


async def test_a_capture_that_comes_before_the_void_turns_the_cancellation_into_a_refund(world: OrdersWorld) -> None:
    placed = await world.place()
    events = await world.capture()

    answer = await world.cancel(placed.order.order_id)
    await world.deliver(events)

    assert answer.order.state is OrderState.REFUNDED
    assert (await world.history(placed.order.order_id))[-3:] == ["CANCELLING", "REFUNDING", "REFUNDED"]
    await world.assert_agreed()


async def test_a_part_that_was_captured_is_refunded_and_the_rest_is_voided(world: OrdersWorld) -> None:
    placed = await world.place()
    world.bank.capture(placed.order.order_id, 2_000, {world.seller.user_id: 1_333, world.other_seller.user_id: 667})

    answer = await world.cancel(placed.order.order_id)

    hold = world.bank.holds[placed.order.order_id]
    assert answer.order.state is OrderState.REFUNDED
    assert (hold.captured_minor, hold.voided_minor, hold.refunded_minor) == (2_000, 1_000, 2_000)
    await world.assert_agreed()


async def test_cancel_and_settlement_at_once_end_in_one_story(world: OrdersWorld) -> None:
    for number in range(4):
        placed = await world.place(key=f"place-{number}", lines=(("tea", 1),))
        events = await world.capture() if number % 2 else []

        await asyncio.gather(
            world.cancel(placed.order.order_id, key=f"cancel-{number}"),
            world.deliver(events) if events else world.settle(),
            return_exceptions=True,
        )

    await world.finish(passes=3)
    await world.settle()
    await world.assert_agreed()


async def test_a_seller_without_money_keeps_the_order_settled(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()
    world.bank.poor_sellers.add(world.seller.user_id)

    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            await world.cancel(placed.order.order_id)
        assert refused.value.reason == "insufficient_funds"

    assert (await world.order(placed.order.order_id)).state is OrderState.SETTLED
    assert await world.stock() == STOCK - 2
    await world.assert_agreed()


async def test_a_cancelled_order_is_not_cancelled_again(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.cancel(placed.order.order_id)

    replayed = await world.cancel(placed.order.order_id)
    with pytest.raises(RefusedError) as refused:
        await world.cancel(placed.order.order_id, key="another")

    assert replayed.replayed
    assert refused.value.reason == "illegal_transition"


async def test_while_the_ledger_is_away_a_cancellation_waits_and_the_reconciler_ends_it(world: OrdersWorld) -> None:
    placed = await world.place()
    world.bank.is_away = True
    with pytest.raises(UnavailableError):
        await world.cancel(placed.order.order_id)
    waiting = await world.order(placed.order.order_id)
    with pytest.raises(ConflictError) as busy:
        await world.cancel(placed.order.order_id, key="another")
    world.bank.is_away = False

    await world.finish()

    assert waiting.state is OrderState.CANCELLING
    assert busy.value.reason == "order_busy"
    assert (await world.cancel(placed.order.order_id)).order.state is OrderState.CANCELLED
    await world.assert_agreed()


async def test_some_pieces_come_back(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()

    answer = await world.refund(placed.order.order_id, lines=((1, 1),), actor=world.seller)

    assert answer.order.state is OrderState.PARTIALLY_REFUNDED
    assert answer.order.refunded.amount_minor == 1_000
    assert answer.order.lines[0].refunded_quantity == 1
    assert await world.stock() == STOCK - 1
    await world.assert_agreed()


async def test_refunds_end_with_everything_back(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()
    await world.refund(placed.order.order_id, lines=((1, 1),), key="one")

    answer = await world.refund(placed.order.order_id, key="rest")

    assert answer.order.state is OrderState.REFUNDED
    assert answer.order.refunded == answer.order.total
    await world.assert_agreed()


async def test_a_sellers_rest_is_the_sellers_own_lines(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()

    answer = await world.refund(placed.order.order_id, actor=world.other_seller)

    assert answer.order.refunded.amount_minor == 1_000
    assert [line.refunded_quantity for line in answer.order.lines] == [0, 1]


async def a_refund_where_the_clock_is_ahead(world: OrdersWorld) -> UUID:
    """Refund a piece of a new order, by a replica that makes ids of the future."""
    placed = await world.place()
    await world.settle()
    await world.refund(placed.order.order_id, lines=((1, 1),), key="first")
    async with world.database.transaction() as connection:
        await connection.execute("UPDATE refunds SET refund_id = $1", UUID(int=2**128 - 1))
        await connection.execute("UPDATE refund_lines SET refund_id = $1", UUID(int=2**128 - 1))
    return placed.order.order_id


async def test_a_refund_is_made_though_an_earlier_one_has_a_later_id(world: OrdersWorld) -> None:
    order_id = await a_refund_where_the_clock_is_ahead(world)

    answer = await world.refund(order_id, lines=((1, 1),), key="second")

    assert answer.order.state is OrderState.PARTIALLY_REFUNDED
    assert answer.order.refunded.amount_minor == 2_000
    await world.assert_agreed()


async def test_a_refused_cancellation_is_told_so_though_an_earlier_refund_has_a_later_id(world: OrdersWorld) -> None:
    order_id = await a_refund_where_the_clock_is_ahead(world)
    world.bank.poor_sellers.add(world.seller.user_id)

    with pytest.raises(RefusedError) as refused:
        await world.cancel(order_id)

    assert refused.value.reason == "insufficient_funds"
    assert (await world.order(order_id)).state is OrderState.PARTIALLY_REFUNDED


async def test_the_same_refund_twice_is_one(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()
    await world.refund(placed.order.order_id, lines=((1, 1),))

    again = await world.refund(placed.order.order_id, lines=((1, 1),))

    assert again.replayed
    assert again.order.refunded.amount_minor == 1_000
    with pytest.raises(KeyReusedError):
        await world.refund(placed.order.order_id, lines=((1, 2),))


async def test_a_key_of_one_kind_of_request_serves_no_other(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)
    await world.confirm(placed.order.order_id, key="k")

    with pytest.raises(KeyReusedError):
        await world.cancel(placed.order.order_id, key="k")


async def test_too_much_is_refused_again_and_again(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()

    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            await world.refund(placed.order.order_id, lines=((1, 3),))
        assert refused.value.reason == "exceeds_captured"
    assert (await world.order(placed.order.order_id)).state is OrderState.SETTLED


async def test_an_order_that_is_not_paid_is_not_refunded(world: OrdersWorld) -> None:
    placed = await world.place()

    with pytest.raises(RefusedError) as refused:
        await world.refund(placed.order.order_id)

    assert refused.value.reason == "illegal_transition"


async def test_a_refund_that_the_ledger_refuses_leaves_the_order_where_it_was(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.settle()
    await world.refund(placed.order.order_id, lines=((2, 1),), key="one")
    world.bank.poor_sellers.add(world.seller.user_id)

    with pytest.raises(RefusedError) as refused:
        await world.refund(placed.order.order_id, key="two")
    world.bank.poor_sellers.clear()
    answer = await world.refund(placed.order.order_id, key="three")

    assert refused.value.reason == "insufficient_funds"
    assert answer.order.state is OrderState.REFUNDED
    await world.assert_agreed()


async def test_others_do_not_see_the_order_and_some_who_see_it_may_not(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)
    order_id = placed.order.order_id
    stranger = an_actor(Role.BUYER)

    for call in (world.confirm, world.cancel, world.refund):
        with pytest.raises(NotFoundError):
            await call(order_id, actor=stranger)
    with pytest.raises(ForbiddenError):
        await world.cancel(order_id, actor=world.seller)
    with pytest.raises(ForbiddenError):
        await world.confirm(order_id, actor=world.operator)
    with pytest.raises(ForbiddenError):
        await world.refund(order_id, actor=world.buyer)
    with pytest.raises(ForbiddenError):
        await world.refund(order_id, lines=((1, 1),), actor=world.other_seller)


async def test_a_repeated_event_settles_once(world: OrdersWorld) -> None:
    placed = await world.place()
    events = await world.capture()

    await world.deliver(events)
    await world.deliver(events + events)

    assert (await world.history(placed.order.order_id)).count("SETTLED") == 1
    async with world.database.snapshot() as connection:
        assert await connection.fetch("SELECT COUNT(*) FROM inbox") == [(1,)]


async def test_a_capture_that_leaves_something_to_capture_settles_nothing(world: OrdersWorld) -> None:
    placed = await world.place()
    hold = world.bank.capture(placed.order.order_id, 1_000, {world.seller.user_id: 1_000})
    assert hold is not None

    await world.deliver([funds_captured(hold)])

    assert (await world.order(placed.order.order_id)).state is OrderState.CONFIRMED


async def test_a_refused_settlement_gives_stock_and_money_back(world: OrdersWorld) -> None:
    placed = await world.place()

    await world.deliver([settlement_refused(placed.order.order_id)])
    failed = await world.order(placed.order.order_id)
    await world.finish()

    assert failed.state is OrderState.SETTLEMENT_FAILED
    assert failed.rejection is not None
    assert failed.rejection.reason == "hold_closed"
    assert world.bank.holds[placed.order.order_id].state is HoldState.VOIDED
    await world.assert_agreed()


async def test_the_reconciler_settles_when_the_event_was_lost(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.capture()

    await world.finish()

    assert (await world.order(placed.order.order_id)).state is OrderState.SETTLED
    await world.assert_agreed()


async def test_an_order_whose_answer_is_slow_keeps_no_other_waiting(world: OrdersWorld) -> None:
    orders = [(await world.place(key=key)).order.order_id for key in ("first", "second")]
    await world.capture()
    both_ask = asyncio.Barrier(2)

    class Slow(MortalLedger):
        async def find_hold(self, order_id: UUID) -> Hold | None:
            await both_ask.wait()
            return await super().find_hold(order_id)

    world.ledger = Slow(world.bank, Fuse())
    async with asyncio.timeout(10):
        await world.finish(orders_at_once=2)

    assert {(await world.order(order_id)).state for order_id in orders} == {OrderState.SETTLED}
    await world.assert_agreed()


async def test_a_manual_order_that_nobody_confirms_expires(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)

    await world.finish(after_seconds=899)
    before = await world.order(placed.order.order_id)
    await world.finish(after_seconds=1)

    assert before.state is OrderState.RESERVED
    assert (await world.history(placed.order.order_id))[-2:] == ["EXPIRING", "EXPIRED"]
    await world.assert_agreed()


async def test_a_pending_order_waits_for_its_buyer_and_then_expires(world: OrdersWorld) -> None:
    world.bank.is_away = True
    with pytest.raises(UnavailableError):
        await world.place()
    world.bank.is_away = False
    (waiting,) = await world.all_orders()

    await world.finish(after_seconds=10, passes=11)
    still = await world.order(waiting.order_id)
    await world.finish(after_seconds=30, passes=2)

    assert still.state is OrderState.PENDING
    assert (await world.order(waiting.order_id)).state is OrderState.EXPIRED
    assert world.bank.holds[waiting.order_id].state is HoldState.TOMBSTONE
    await world.assert_agreed()


async def test_after_an_expiry_a_late_reserve_is_refused_and_the_answer_is_the_expired_order(
    world: OrdersWorld,
) -> None:
    world.bank.is_away = True
    with pytest.raises(UnavailableError):
        await world.place()
    world.bank.is_away = False
    await world.finish(after_seconds=901)
    (expired,) = await world.all_orders()

    with pytest.raises(RefusedError) as late:
        await world.bank.reserve_funds(expired, buyer_token="t", expires_at=expired.expires_at)
    answer = await world.place()

    assert late.value.reason == "hold_voided"
    assert answer.order.state is OrderState.EXPIRED


async def test_looks_at_a_stuck_order_come_later_and_later(world: OrdersWorld) -> None:
    placed = await world.place()
    fuse = Fuse()
    world.ledger = MortalLedger(world.bank, fuse)

    await world.finish(after_seconds=1, passes=120)

    assert (await world.order(placed.order.order_id)).state is OrderState.CONFIRMED
    assert 3 <= fuse.passed.count("after find_hold") <= 6


async def test_an_order_that_was_stuck_for_long_is_still_looked_at_within_a_minute(world: OrdersWorld) -> None:
    placed = await world.place()
    await world.finish(after_seconds=60, passes=60)
    await world.capture()

    await world.finish(after_seconds=61)

    assert (await world.order(placed.order.order_id)).state is OrderState.SETTLED


async def test_a_reserved_automatic_order_is_confirmed_by_the_reconciler(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)
    async with world.database.transaction() as connection:
        await connection.execute("UPDATE orders SET capture = 'automatic', due_at = 0")

    await world.finish()
    await world.settle()

    assert (await world.order(placed.order.order_id)).state is OrderState.SETTLED
    await world.assert_agreed()


async def test_an_order_saved_from_an_old_reading_is_refused(world: OrdersWorld) -> None:
    placed = await world.place(capture=MANUAL)
    old = await world.order(placed.order.order_id)
    await world.confirm(placed.order.order_id)

    with pytest.raises(ConflictError) as conflict:
        async with world.store.transaction() as rows:
            await rows.orders.save(replace(old).begin_cancelling(world.clock.now()), by="somebody")

    assert conflict.value.reason == "order_changed"
