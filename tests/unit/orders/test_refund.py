from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.money import Money
from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order import CaptureMode, Order, OrderLine, begin_order
from services.orders.domain.order_state import OrderState
from services.orders.domain.refund import (
    ExceedsCapturedError,
    Refund,
    everything_left,
    plan_refund,
    quantities_of,
    spread,
)
from services.orders.domain.shares import refundable_minor, refunded_by_line, sums_of
from services.runtime.errors import InvalidArgumentError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BY = UUID(int=9)


def a_settled_order(*lines: tuple[int, int, int], captured_minor: int | None = None) -> Order:
    """Lines are (unit price, quantity, seller)."""
    order = begin_order(
        order_id=UUID(int=1),
        buyer_id=UUID(int=2),
        capture=CaptureMode.AUTOMATIC,
        lines=[
            OrderLine(
                line_number=number,
                sku=f"sku-{number}",
                title="A thing",
                quantity=quantity,
                unit_price=Money(unit_minor, "EUR"),
                seller_id=UUID(int=seller),
                stock_tracked=True,
            )
            for number, (unit_minor, quantity, seller) in enumerate(lines, start=1)
        ],
        fee_basis_points=250,
        now=NOW,
        expires_at=NOW + timedelta(minutes=15),
    )
    captured = order.total if captured_minor is None else Money(captured_minor, "EUR")
    return order.reserve(NOW).confirm(NOW).settle(captured, NOW)


def refunded(order: Order, quantities: dict[int, int]) -> tuple[Order, int]:
    refund = plan_refund(order, quantities, refund_id=UUID(int=3), requested_by=BY, now=NOW)
    after = order.begin_refunding(NOW).finish_refunding(refund.quantities, refund.amounts_minor, NOW)
    return after, refund.amount.amount_minor


def test_pieces_bring_back_what_they_cost() -> None:
    order, amount_minor = refunded(a_settled_order((500, 3, 1), (70, 2, 2)), {1: 2, 2: 1})

    assert amount_minor == 1_070
    assert order.state is OrderState.PARTIALLY_REFUNDED
    assert everything_left(order) == {1: 1, 2: 1}


def test_the_last_piece_makes_it_refunded() -> None:
    order, _ = refunded(a_settled_order((500, 2, 1)), {1: 1})
    order, _ = refunded(order, {1: 1})

    assert order.state is OrderState.REFUNDED
    assert order.refunded == order.captured
    assert everything_left(order) == {}


def test_a_sellers_rest_is_the_sellers_own() -> None:
    assert everything_left(a_settled_order((500, 2, 1), (70, 1, 2)), seller_id=UUID(int=2)) == {2: 1}


def test_legs_are_summed_by_seller() -> None:
    order = a_settled_order((500, 1, 2), (70, 1, 1), (30, 1, 2))
    refund = plan_refund(order, everything_left(order), refund_id=UUID(int=3), requested_by=BY, now=NOW)

    assert [(seller.int, gross_minor) for seller, gross_minor in refund.legs()] == [(1, 70), (2, 530)]


@pytest.mark.parametrize(("refunded_minor", "left"), [(0, {1: 500, 2: 70}), (540, {1: 30, 2: 30}), (570, {1: 0, 2: 0})])
def test_no_line_shows_more_to_refund_than_is_left_of_an_order_whose_lines_older_code_did_not_follow(
    refunded_minor: int, left: dict[int, int]
) -> None:
    order = a_settled_order((500, 1, 1), (70, 1, 2))
    if refunded_minor:
        order = replace(order, state=OrderState.PARTIALLY_REFUNDED, refunded=Money(refunded_minor, "EUR"))

    assert refundable_minor(order) == left


@pytest.mark.parametrize("quantities", [{1: 3}, {}], ids=["too many", "nothing"])
def test_more_than_is_left_is_refused(quantities: dict[int, int]) -> None:
    with pytest.raises(ExceedsCapturedError):
        refunded(a_settled_order((500, 2, 1)), quantities)


@pytest.mark.parametrize(
    ("quantities", "reason"),
    [({2: 1}, "unknown_line"), ({0: 1}, "unknown_line"), ({-1: 1}, "unknown_line"), ({1: 0}, "invalid_quantity")],
)
def test_what_makes_no_sense_is_invalid(quantities: dict[int, int], reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as invalid:
        refunded(a_settled_order((500, 2, 1)), quantities)

    assert invalid.value.reason == reason


def test_a_line_is_named_once() -> None:
    with pytest.raises(InvalidArgumentError) as invalid:
        quantities_of([(1, 1), (1, 2)])

    assert invalid.value.reason == "duplicate_line"


def test_a_line_gives_back_pieces_or_an_amount_and_not_both_at_once() -> None:
    order = a_settled_order((500, 2, 1))

    with pytest.raises(InvalidArgumentError) as invalid:
        plan_refund(order, {1: 1}, amounts_minor={1: 1}, refund_id=UUID(int=3), requested_by=BY, now=NOW)

    assert invalid.value.reason == "duplicate_line"


def test_pieces_bring_back_no_more_than_an_amount_before_them_left_of_their_line() -> None:
    order = a_settled_order((100, 2, 1), (100, 1, 1))
    amount = plan_refund(order, {}, amounts_minor={1: 150}, refund_id=UUID(int=3), requested_by=BY, now=NOW)
    order = order.begin_refunding(NOW).finish_refunding(amount.quantities, amount.amounts_minor, NOW)

    pieces = plan_refund(order, {1: 2}, refund_id=UUID(int=4), requested_by=BY, now=NOW)

    assert pieces.amounts_minor == {1: 50}


def test_what_older_code_gave_back_for_pieces_is_not_given_back_again() -> None:
    order = a_settled_order((100, 2, 1), (100, 2, 1))
    of_older_code = replace(order.lines[0], refunded_quantity=1, refunded_minor=0)
    order = replace(order, lines=(of_older_code, order.lines[1]), refunded=Money(100, "EUR"))

    assert spread(order, Money(250, "EUR")) == {1: 100, 2: 150}
    assert refundable_minor(order) == {1: 100, 2: 200}


lines = st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 20), st.integers(1, 3)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(lines, st.data())
def test_any_split_of_refunds_gives_back_exactly_what_was_captured(
    wanted: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    total = sum(unit * quantity for unit, quantity, _ in wanted)
    order = a_settled_order(*wanted, captured_minor=data.draw(st.integers(total // 2 + 1, total)))
    given_back = 0

    # Pieces that nothing was captured for stay: nothing is left to go back for them.
    while given_back < order.captured.amount_minor:
        left = everything_left(order)
        number = data.draw(st.sampled_from(sorted(left)))
        try:
            order, amount_minor = refunded(order, {number: data.draw(st.integers(1, left[number]))})
        except ExceedsCapturedError:
            order, amount_minor = refunded(order, left)
        given_back += amount_minor

    assert given_back == order.captured.amount_minor
    assert order.state is OrderState.REFUNDED


def a_hold(order: Order, given_back: dict[UUID, int], *, tells_sellers: bool = True) -> Hold:
    """The order's hold, as the ledger tells it."""
    return Hold(
        hold_id=order.order_id,
        state=HoldState.CAPTURED,
        held_minor=order.total.amount_minor,
        captured_minor=order.captured.amount_minor,
        voided_minor=order.total.amount_minor - order.captured.amount_minor,
        remaining_minor=0,
        refunded_minor=sum(given_back.values()),
        refunded_by=given_back if tells_sellers else None,
    )


def followed(order: Order, given_back: dict[UUID, int]) -> Order:
    """The order after the comparison with the ledger."""
    hold = a_hold(order, given_back)
    if hold.refunded_minor == order.refunded.amount_minor:
        return order
    by_line = refunded_by_line(order, hold)
    assert by_line is not None
    return order.follow_refunds(Money(hold.refunded_minor, "EUR"), by_line, "refunded_by_ledger", NOW)


def a_refund(order: Order, data: st.DataObject) -> Refund:
    """Anything that somebody may ask for."""
    seller_id = data.draw(st.sampled_from([None, *sorted(order.sellers)]))
    kinds = {"everything": {"quantities": everything_left(order, seller_id=seller_id)}}
    if left := [line.line_number for line in order.lines if line.quantity_left]:
        kinds["pieces"] = {"quantities": {data.draw(st.sampled_from(left)): 1}}
    amount = Money(data.draw(st.integers(1, order.captured.amount_minor)), "EUR")
    kind = data.draw(st.sampled_from([*kinds, "amount"]))
    what = (
        {"quantities": {}, "amounts_minor": spread(order, amount, seller_id=seller_id)}
        if kind == "amount"
        else kinds[kind]
    )
    return plan_refund(order, refund_id=UUID(int=3), requested_by=BY, now=NOW, **what)


@settings(max_examples=150, deadline=None)
@given(lines, st.data())
def test_refunds_of_which_some_were_missed_and_followed_leave_nothing_and_the_same_sums(
    wanted: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    order = a_settled_order(*wanted)
    captured = {one.seller_id: one.gross_minor for one in order.allocations()}
    given_back = dict.fromkeys(captured, 0)

    def give_back(order: Order, refund: Refund) -> bool:
        """Do as the ledger does, which refuses more than a seller has left."""
        if any(minor > captured[seller] - given_back[seller] for seller, minor in refund.legs()):
            return False
        for seller, minor in refund.legs():
            given_back[seller] += minor
        return True

    for _ in range(data.draw(st.integers(0, 6))):
        try:
            refund = a_refund(order, data)
        except ExceedsCapturedError:
            continue
        if give_back(order, refund) and not data.draw(st.booleans(), label="missed"):
            order = order.begin_refunding(NOW).finish_refunding(refund.quantities, refund.amounts_minor, NOW)
        if data.draw(st.booleans(), label="compared"):
            order = followed(order, given_back)
    order = followed(order, given_back)

    for seller, minor in given_back.items():
        own = sums_of(order, [line for line in order.lines if line.seller_id == seller])
        assert (own.captured.amount_minor, own.refunded.amount_minor) == (captured[seller], minor)
    if order.state is not OrderState.REFUNDED:
        rest = plan_refund(order, everything_left(order), refund_id=UUID(int=4), requested_by=BY, now=NOW)
        assert give_back(order, rest)
        order = order.begin_refunding(NOW).finish_refunding(rest.quantities, rest.amounts_minor, NOW)
    assert given_back == captured
    assert (order.state, order.refunded) == (OrderState.REFUNDED, order.captured)
    assert sum(refundable_minor(order).values()) == 0


def test_what_the_ledger_gave_back_is_of_the_sellers_that_it_names_and_of_their_first_lines() -> None:
    order = a_settled_order((500, 1, 1), (300, 1, 2), (200, 1, 2))

    assert refunded_by_line(order, a_hold(order, {UUID(int=1): 0, UUID(int=2): 350})) == {1: 0, 2: 300, 3: 50}


def test_without_names_it_is_told_only_where_it_can_be_nobody_elses() -> None:
    order, one_seller = a_settled_order((500, 1, 1), (300, 1, 2)), a_settled_order((500, 1, 1), (300, 1, 1))
    only_second_left, _ = refunded(order, {1: 1})

    def told(order: Order, minor: int) -> dict[int, int] | None:
        return refunded_by_line(order, a_hold(order, {UUID(int=1): minor}, tells_sellers=False))

    assert told(order, 500) is None
    assert told(order, 800) == {1: 500, 2: 300}
    assert told(one_seller, 600) == {1: 500, 2: 100}
    assert told(only_second_left, 600) == {1: 500, 2: 100}


def test_where_a_seller_gave_back_less_than_the_lines_know_of_nothing_is_told() -> None:
    order, _ = refunded(a_settled_order((500, 1, 1), (300, 1, 2)), {1: 1})

    assert refunded_by_line(order, a_hold(order, {UUID(int=1): 400, UUID(int=2): 200})) is None


def test_what_older_code_gave_back_for_pieces_stays_when_the_ledger_is_followed() -> None:
    order = a_settled_order((100, 3, 1))
    order = replace(
        order,
        state=OrderState.PARTIALLY_REFUNDED,
        lines=(replace(order.lines[0], refunded_quantity=1),),
        refunded=Money(100, "EUR"),
    )

    assert refunded_by_line(order, a_hold(order, {UUID(int=1): 150})) == {1: 150}


def test_everything_of_an_order_whose_lines_older_code_did_not_follow_is_what_the_order_has_left() -> None:
    order = a_settled_order((500, 2, 1), (300, 1, 1))
    order = replace(order, state=OrderState.PARTIALLY_REFUNDED, refunded=Money(1_100, "EUR"))

    rest = plan_refund(order, everything_left(order), refund_id=UUID(int=3), requested_by=BY, now=NOW)

    assert (rest.amounts_minor, rest.quantities) == ({1: 200, 2: 0}, {1: 2, 2: 1})
    assert spread(order, Money(200, "EUR")) == {1: 200}
    with pytest.raises(ExceedsCapturedError):
        spread(order, Money(201, "EUR"))
    with pytest.raises(ExceedsCapturedError):
        plan_refund(order, {}, amounts_minor={1: 150, 2: 51}, refund_id=UUID(int=3), requested_by=BY, now=NOW)
