from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest

from services.money import Money
from services.orders.domain.order import CaptureMode, Order, OrderLine, Rejection, TotalChangedError, begin_order
from services.orders.domain.order_state import TRANSITIONS, IllegalTransitionError, OrderState, check_move
from services.runtime.errors import InvalidArgumentError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = OrderState

# Written out a second time on purpose: the table says what the code does, this says what was meant.
MEANT = {
    (S.PENDING, S.RESERVED),
    (S.PENDING, S.REJECTED),
    (S.PENDING, S.CANCELLING),
    (S.PENDING, S.EXPIRING),
    (S.RESERVED, S.CONFIRMED),
    (S.RESERVED, S.CANCELLING),
    (S.RESERVED, S.EXPIRING),
    (S.CONFIRMED, S.SETTLED),
    (S.CONFIRMED, S.CANCELLING),
    (S.CONFIRMED, S.SETTLEMENT_FAILED),
    (S.SETTLED, S.REFUNDING),
    (S.PARTIALLY_REFUNDED, S.REFUNDING),
    (S.CANCELLING, S.CANCELLED),
    (S.CANCELLING, S.REFUNDING),
    (S.EXPIRING, S.EXPIRED),
    (S.EXPIRING, S.SETTLED),
    (S.REFUNDING, S.SETTLED),
    (S.REFUNDING, S.PARTIALLY_REFUNDED),
    (S.REFUNDING, S.REFUNDED),
}


@pytest.mark.parametrize(("before", "after"), list(product(OrderState, OrderState)), ids=lambda state: state.value)
def test_an_order_moves_as_it_was_meant_and_no_other_way(before: OrderState, after: OrderState) -> None:
    if (before, after) in MEANT:
        check_move(before, after)
    else:
        with pytest.raises(IllegalTransitionError):
            check_move(before, after)


def test_each_state_says_what_it_is_and_has_its_row() -> None:
    assert set(TRANSITIONS) == set(OrderState)
    for state in OrderState:
        assert state.sentence.endswith(".")


def test_each_state_can_be_reached_and_each_intent_can_be_left() -> None:
    reached = set().union(*TRANSITIONS.values()) | {S.PENDING}

    assert reached == set(OrderState)
    assert all(TRANSITIONS[state] for state in OrderState if state.is_intent)


def test_an_order_passes_at_its_own_total_only() -> None:
    order = an_order(a_line(1, unit_minor=500, quantity=2), a_line(2, unit_minor=1, quantity=1))

    order.check_total(Money(1_001, "EUR"))
    for other in (Money(1_000, "EUR"), Money(1_002, "EUR"), Money(1_001, "USD")):
        with pytest.raises(TotalChangedError) as changed:
            order.check_total(other)
        assert changed.value.message == f"The order costs 10.01 EUR, not {other}."


def a_line(number: int = 1, *, seller: int = 1, unit_minor: int = 500, quantity: int = 2) -> OrderLine:
    return OrderLine(
        line_number=number,
        sku=f"sku-{number}",
        title="A thing",
        quantity=quantity,
        unit_price=Money(unit_minor, "EUR"),
        seller_id=UUID(int=seller),
        stock_tracked=number % 2 == 1,
    )


def an_order(*lines: OrderLine, capture: CaptureMode = CaptureMode.AUTOMATIC) -> Order:
    return begin_order(
        order_id=UUID(int=1),
        buyer_id=UUID(int=2),
        capture=capture,
        lines=lines or (a_line(),),
        fee_basis_points=250,
        now=NOW,
        expires_at=NOW + timedelta(minutes=15),
    )


VERBS: dict[OrderState, Callable[[Order], Order]] = {
    S.RESERVED: lambda order: order.reserve(NOW),
    S.CONFIRMED: lambda order: order.confirm(NOW),
    S.REJECTED: lambda order: order.reject(Rejection(reason="no", message="No."), NOW),
    S.CANCELLING: lambda order: order.begin_cancelling(NOW),
    S.EXPIRING: lambda order: order.begin_expiring(NOW),
    S.REFUNDING: lambda order: order.begin_refunding(NOW),
    S.SETTLEMENT_FAILED: lambda order: order.fail_settlement(Rejection(reason="no", message="No."), NOW),
}


@pytest.mark.parametrize("state", list(VERBS), ids=lambda state: state.value)
def test_a_verb_returns_the_next_version_and_leaves_the_order_as_it_was(state: OrderState) -> None:
    order = an_order()
    paths: dict[OrderState, list[Callable[[Order], Order]]] = {
        S.CONFIRMED: [VERBS[S.RESERVED]],
        S.REFUNDING: [VERBS[S.RESERVED], VERBS[S.CONFIRMED], lambda one: one.settle(one.total, NOW)],
        S.SETTLEMENT_FAILED: [VERBS[S.RESERVED], VERBS[S.CONFIRMED]],
    }
    for verb in paths.get(state, []):
        order = verb(order)

    after = VERBS[state](order)

    assert after.state is state
    assert after.version == order.version + 1
    assert after.changes[-1].state is state
    assert order.state is not state


def test_a_new_orders_stored_version_is_none() -> None:
    assert an_order().stored_version == 0
    assert an_order().reserve(NOW).confirm(NOW).stored_version == 0


def test_allocations_sum_to_the_total_by_seller() -> None:
    order = an_order(a_line(1, seller=2), a_line(2, seller=1, unit_minor=7), a_line(3, seller=2, quantity=1))

    allocations = [(one.seller_id.int, one.gross_minor) for one in order.allocations()]

    assert allocations == [(1, 14), (2, 1_500)]
    assert order.total == Money(1_514, "EUR")


def test_an_order_of_too_many_sellers_is_invalid() -> None:
    with pytest.raises(InvalidArgumentError) as invalid:
        an_order(*(a_line(number, seller=number) for number in range(1, 102)))

    assert invalid.value.reason == "too_many_sellers"


@pytest.mark.parametrize(("lifetime_minutes", "waits_minutes"), [(2, 2), (15, 15), (60, 15)])
def test_an_order_without_a_hold_waits_no_longer_than_an_order_does(lifetime_minutes: int, waits_minutes: int) -> None:
    order = replace(an_order(a_line(1)), created_at=NOW, expires_at=NOW + timedelta(minutes=15))

    assert order.unheld_until(timedelta(minutes=lifetime_minutes)) == NOW + timedelta(minutes=waits_minutes)


def test_only_counted_products_are_set_aside() -> None:
    assert an_order(a_line(1), a_line(2)).stock_set_aside() == {"sku-1": 2}


PATIENCE = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("order", "due_after"),
    [
        (an_order(), PATIENCE),
        (an_order().reserve(NOW), PATIENCE),
        (an_order(capture=CaptureMode.MANUAL).reserve(NOW), timedelta(minutes=15)),
        (an_order().reserve(NOW).confirm(NOW), PATIENCE),
        (an_order().begin_cancelling(NOW), PATIENCE),
        (VERBS[S.SETTLEMENT_FAILED](an_order().reserve(NOW).confirm(NOW)), timedelta(0)),
    ],
    ids=lambda value: value.state.value if isinstance(value, Order) else "",
)
def test_an_order_that_waits_for_something_says_when_to_look(order: Order, due_after: timedelta) -> None:
    assert order.due_at(PATIENCE) == NOW + due_after


def test_an_order_that_has_ended_needs_no_look() -> None:
    assert VERBS[S.REJECTED](an_order()).due_at(PATIENCE) is None
    assert an_order().reserve(NOW).confirm(NOW).settle(Money(1_000, "EUR"), NOW).due_at(PATIENCE) is None
