import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from services.money import Money
from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order import CaptureMode, Order
from services.orders.domain.order_state import OrderState
from services.orders.domain.user import Role
from services.orders.domain.wish import Wish
from services.orders.use_cases.change_product import change_product
from services.orders.use_cases.placing import PlaceOrder
from services.orders.use_cases.placing_together import PlacingTogether
from services.runtime.errors import (
    ConflictError,
    InvalidArgumentError,
    KeyReusedError,
    RefusedError,
    UnavailableError,
)
from tests.support.crashes import Fuse, MortalLedger, ProcessDied
from tests.support.orders_world import FUNDS_MINOR, STOCK, TERMS, OrdersWorld, an_actor


async def test_an_automatic_order_is_confirmed_with_its_money_held_and_its_stock_set_aside(world: OrdersWorld) -> None:
    answer = await world.place()

    order = answer.order
    assert order.state is OrderState.CONFIRMED
    assert not answer.replayed
    assert await world.order(order.order_id) == replace(order, changes=())
    assert await world.history(order.order_id) == ["PENDING", "RESERVED", "CONFIRMED"]
    assert await world.stock() == STOCK - 2
    assert world.bank.holds[order.order_id].state is HoldState.COMMITTED
    assert world.bank.tokens == ["the buyer's token"]


async def test_a_confirmed_order_tells_the_ledger_whom_to_pay_once(world: OrdersWorld) -> None:
    answer = await world.place()

    (event,) = await world.confirmed_events()
    assert event.hold_id == str(answer.order.order_id)
    assert event.capture_number == 1
    assert event.final
    assert (event.amount.amount_minor, event.amount.currency) == (3_000, "EUR")
    assert {one.seller_id: (one.gross_minor, one.fee_basis_points) for one in event.allocations} == {
        str(world.seller.user_id): (2_000, 250),
        str(world.other_seller.user_id): (1_000, 250),
    }


async def test_a_manual_order_waits_with_an_open_hold(world: OrdersWorld) -> None:
    answer = await world.place(capture=CaptureMode.MANUAL)

    assert answer.order.state is OrderState.RESERVED
    assert world.bank.holds[answer.order.order_id].state is HoldState.OPEN
    assert world.bank.expiries[answer.order.order_id] > answer.order.expires_at
    assert await world.confirmed_events() == []


async def test_a_settled_order_has_what_was_captured(world: OrdersWorld) -> None:
    answer = await world.place()

    await world.settle()

    order = await world.order(answer.order.order_id)
    assert order.state is OrderState.SETTLED
    assert order.captured == order.total
    await world.assert_agreed()


async def test_an_order_without_funds_is_rejected_and_its_stock_is_back(world: OrdersWorld) -> None:
    world.bank.available[world.buyer.user_id] = 10

    with pytest.raises(RefusedError) as refused:
        await world.place()

    (order,) = await world.all_orders()
    assert refused.value.reason == "insufficient_funds"
    assert refused.value.details["order_id"] == str(order.order_id)
    assert order.state is OrderState.REJECTED
    assert order.rejection is not None
    assert order.rejection.reason == "insufficient_funds"
    assert await world.stock() == STOCK


async def test_a_buyer_who_never_had_money_has_not_enough_of_it(world: OrdersWorld) -> None:
    with pytest.raises(RefusedError) as refused:
        await world.place(buyer=an_actor(Role.BUYER))

    assert refused.value.reason == "insufficient_funds"


async def test_a_repeated_rejection_is_the_first_one_even_when_money_came_meanwhile(world: OrdersWorld) -> None:
    world.bank.available[world.buyer.user_id] = 10
    with pytest.raises(RefusedError) as first:
        await world.place()
    world.bank.available[world.buyer.user_id] = FUNDS_MINOR

    with pytest.raises(RefusedError) as second:
        await world.place()

    assert (second.value.reason, second.value.details) == (first.value.reason, first.value.details)
    assert len(await world.all_orders()) == 1


@pytest.mark.parametrize(("sku", "quantity", "reason"), [("tea", STOCK + 1, "out_of_stock"), ("gin", 1, "unknown_sku")])
async def test_what_cannot_be_had_makes_no_order_and_is_refused_again(
    world: OrdersWorld, sku: str, quantity: int, reason: str
) -> None:
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            await world.place(lines=(("cup", 1), (sku, quantity)))
        assert refused.value.reason == reason
        assert refused.value.details["sku"] == sku

    assert await world.all_orders() == []
    assert await world.stock() == STOCK


SHOWN = Money(3_000, "EUR")
"""What 2 tea and 1 cup cost."""


@pytest.fixture(params=["alone", "together"])
def placing_world(world: OrdersWorld, request: pytest.FixtureRequest) -> OrdersWorld:
    """Place each order in transactions of its own, or in common ones."""
    if request.param == "together":
        world.placing = PlacingTogether(store=world.store, clock=world.clock, terms=TERMS, together_max=8)
    return world


async def reprice(world: OrdersWorld, price: Money) -> None:
    changes = {"price": price}
    await change_product("tea", changes, seller_id=world.seller.user_id, store=world.store, clock=world.clock)


async def test_an_order_that_costs_what_was_shown_is_placed(placing_world: OrdersWorld) -> None:
    answer = await placing_world.place(expected_total=SHOWN)
    await placing_world.settle()

    assert answer.order.total == SHOWN
    await placing_world.assert_agreed()


@pytest.mark.parametrize("price", [Money(1_001, "EUR"), Money(999, "EUR")], ids=["dearer", "cheaper"])
async def test_nobody_pays_another_total_than_was_shown(placing_world: OrdersWorld, price: Money) -> None:
    await reprice(placing_world, price)

    with pytest.raises(RefusedError) as refused:
        await placing_world.place(expected_total=SHOWN)

    actual_minor = 2 * price.amount_minor + 1_000
    assert refused.value.reason == "total_changed"
    assert refused.value.details == {
        "expected_minor": "3000",
        "expected_currency": "EUR",
        "actual_minor": str(actual_minor),
        "actual_currency": "EUR",
    }
    assert await placing_world.all_orders() == []
    assert await placing_world.stock() == STOCK
    assert placing_world.bank.holds == {}


async def test_the_same_number_of_another_asset_is_another_total(placing_world: OrdersWorld) -> None:
    with pytest.raises(RefusedError) as refused:
        await placing_world.place(expected_total=Money(SHOWN.amount_minor, "JPY"))

    assert refused.value.reason == "total_changed"
    assert await placing_world.all_orders() == []


async def test_a_changed_total_is_refused_again_also_when_the_price_is_back(placing_world: OrdersWorld) -> None:
    await reprice(placing_world, Money(1_200, "EUR"))
    with pytest.raises(RefusedError) as first:
        await placing_world.place(expected_total=SHOWN)
    await reprice(placing_world, Money(1_000, "EUR"))

    with pytest.raises(RefusedError) as second:
        await placing_world.place(expected_total=SHOWN)
    placed = await placing_world.place(expected_total=SHOWN, key="another")

    assert (second.value.reason, second.value.details) == (first.value.reason, first.value.details)
    assert placed.order.total == SHOWN


@pytest.mark.parametrize("other", [None, Money(2_999, "EUR"), Money(3_000, "USD")], ids=["none", "amount", "asset"])
async def test_a_key_stands_for_the_total_that_it_came_with(placing_world: OrdersWorld, other: Money | None) -> None:
    await placing_world.place(expected_total=SHOWN)

    with pytest.raises(KeyReusedError):
        await placing_world.place(expected_total=other)

    assert (await placing_world.place(expected_total=SHOWN)).replayed


async def test_an_order_that_waited_goes_on_at_the_total_that_was_agreed_to(placing_world: OrdersWorld) -> None:
    placing_world.bank.is_away = True
    with pytest.raises(UnavailableError):
        await placing_world.place(expected_total=SHOWN)
    placing_world.bank.is_away = False
    await reprice(placing_world, Money(1_200, "EUR"))

    answer = await placing_world.place(expected_total=SHOWN)

    assert (answer.order.state, answer.order.total) == (OrderState.CONFIRMED, SHOWN)


def test_a_key_of_code_that_knew_no_expected_total_stands_for_the_same_order() -> None:
    wanted = PlaceOrder(
        buyer_id=UUID(int=1),
        buyer_token="",
        idempotency_key="key",
        wishes=(Wish(sku="tea", quantity=2), Wish(sku="cup", quantity=1)),
        capture=CaptureMode.AUTOMATIC,
    )

    written_by_that_code = "f0c93e667fe79f8e313318d1b594113a3c39890b09b7ce161759a3f922c74c96"
    assert wanted.request.fingerprint.hex() == written_by_that_code


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), "invalid_lines"),
        ((("tea", 1), ("tea", 2)), "duplicate_sku"),
        ((("tea", 0),), "invalid_quantity"),
        ((("tea", 1_000_001),), "invalid_quantity"),
        ((("no spaces", 1),), "invalid_sku"),
        (tuple((f"s{number}", 1) for number in range(1_001)), "invalid_lines"),
    ],
)
async def test_malformed_lines_are_invalid(world: OrdersWorld, lines: tuple[tuple[str, int], ...], reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as invalid:
        await world.place(lines=lines)

    assert invalid.value.reason == reason


async def test_the_same_key_answers_the_order_as_it_is_now(world: OrdersWorld) -> None:
    first = await world.place()
    await world.settle()

    again = await world.place()

    assert again.replayed
    assert again.order.order_id == first.order.order_id
    assert again.order.state is OrderState.SETTLED
    assert len(await world.all_orders()) == 1


async def test_the_same_key_with_other_content_is_refused(world: OrdersWorld) -> None:
    await world.place()

    with pytest.raises(KeyReusedError):
        await world.place(lines=(("tea", 1),))


async def test_a_key_belongs_to_one_user(world: OrdersWorld) -> None:
    first = await world.place()
    stranger = an_actor(Role.BUYER)
    world.bank.available[stranger.user_id] = FUNDS_MINOR

    second = await world.place(buyer=stranger)

    assert second.order.order_id != first.order.order_id


async def test_of_many_at_once_with_one_key_one_works_and_the_others_wait_or_repeat(world: OrdersWorld) -> None:
    answers = await asyncio.gather(*(world.place() for _ in range(8)), return_exceptions=True)

    orders = await world.all_orders()
    assert len(orders) == 1
    for answer in answers:
        if isinstance(answer, BaseException):
            assert isinstance(answer, ConflictError)
            assert answer.reason == "request_in_flight"
        else:
            assert answer.order.order_id == orders[0].order_id


async def test_stock_is_never_sold_twice(world: OrdersWorld) -> None:
    answers = await asyncio.gather(
        *(world.place(key=f"key-{number}", lines=(("tea", 3),)) for number in range(8)), return_exceptions=True
    )

    sold = [answer for answer in answers if not isinstance(answer, BaseException)]
    refused = [answer for answer in answers if isinstance(answer, RefusedError)]
    assert (len(sold), len(refused)) == (3, 5)
    assert await world.stock() == STOCK - 9


async def test_while_the_ledger_is_away_the_order_waits_and_the_same_key_finishes_it(world: OrdersWorld) -> None:
    world.bank.is_away = True
    with pytest.raises(UnavailableError):
        await world.place()
    (waiting,) = await world.all_orders()
    world.bank.is_away = False

    answer = await world.place()

    assert waiting.state is OrderState.PENDING
    assert answer.order.order_id == waiting.order_id
    assert answer.order.state is OrderState.CONFIRMED
    assert not answer.replayed


async def test_while_the_ledger_is_known_to_be_away_no_order_is_begun(world: OrdersWorld) -> None:
    world.bank.is_known_to_be_away = True

    with pytest.raises(UnavailableError) as away:
        await world.place()

    assert away.value.reason == "ledger_unavailable"
    assert await world.all_orders() == []
    assert await world.stock() == STOCK


async def test_while_the_ledger_is_known_to_be_away_an_earlier_answer_is_given_again(world: OrdersWorld) -> None:
    placed = await world.place()
    world.bank.is_known_to_be_away = True

    answer = await world.place()

    assert answer.replayed
    assert answer.order.order_id == placed.order.order_id


async def test_a_crash_frees_the_key_when_its_lease_runs_out(world: OrdersWorld) -> None:
    world.ledger = MortalLedger(world.bank, Fuse(dies_at=0))
    with pytest.raises(ProcessDied):
        await world.place()
    world.ledger = world.bank

    with pytest.raises(ConflictError) as conflict:
        await world.place()
    await world.clock.advance(30)
    answer = await world.place()

    assert conflict.value.reason == "request_in_flight"
    assert answer.order.state is OrderState.CONFIRMED


async def test_an_order_cancelled_before_the_ledger_answered_is_the_answer(world: OrdersWorld) -> None:
    world.bank.is_away = True
    with pytest.raises(UnavailableError):
        await world.place()
    (waiting,) = await world.all_orders()
    world.bank.is_away = False
    await world.cancel(waiting.order_id)

    answer = await world.place()

    assert answer.order.state is OrderState.CANCELLED
    await world.assert_agreed()


class SlowAnswer(MortalLedger):
    """Something happens between the reserve's effect and its answer."""

    def __init__(self, world: OrdersWorld, meanwhile: Callable[[UUID], Awaitable[object]]) -> None:
        super().__init__(world.bank, Fuse())
        self._world = world
        self._meanwhile = meanwhile

    async def reserve_funds(self, order: Order, *, buyer_token: str, expires_at: datetime) -> Hold:
        try:
            return await super().reserve_funds(order, buyer_token=buyer_token, expires_at=expires_at)
        finally:
            self._world.ledger = self._world.bank
            await self._meanwhile(order.order_id)


async def test_an_order_that_the_reconciler_confirmed_before_the_answer_is_confirmed_once(world: OrdersWorld) -> None:
    async def finish(_order_id: UUID) -> None:
        await world.finish()

    world.ledger = SlowAnswer(world, finish)

    answer = await world.place()

    assert answer.order.state is OrderState.CONFIRMED
    assert await world.history(answer.order.order_id) == ["PENDING", "RESERVED", "CONFIRMED"]
    assert len(await world.confirmed_events()) == 1


async def test_an_order_that_was_cancelled_before_the_answer_stays_cancelled(world: OrdersWorld) -> None:
    world.ledger = SlowAnswer(world, world.cancel)

    answer = await world.place()

    assert answer.order.state is OrderState.CANCELLED
    assert (await world.place()).replayed
    await world.assert_agreed()


async def test_a_refusal_that_two_requests_with_one_key_found_is_the_answer_to_both(world: OrdersWorld) -> None:
    world.bank.available[world.buyer.user_id] = world.first_funds_minor = 10
    taken_over = []

    async def take_over(_order_id: UUID) -> None:
        await world.clock.advance(30)
        with pytest.raises(RefusedError) as refused:
            await world.place()
        taken_over.append((refused.value.reason, refused.value.details))

    world.ledger = SlowAnswer(world, take_over)

    with pytest.raises(RefusedError) as late:
        await world.place()

    assert taken_over == [(late.value.reason, late.value.details)]
    assert late.value.reason == "insufficient_funds"
    assert await world.stock() == STOCK
    await world.assert_agreed()
