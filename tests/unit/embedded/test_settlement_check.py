"""What invariant 5 says of one order and its hold."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar
from uuid import UUID

import pytest

from services.embedded.verification.settlement import Difference, compared, difference_of, pairs_of
from services.ledger.domain.hold import Hold, HoldState
from services.orders.outbound.order_totals import OrderTotals

BUYER = UUID(int=1)
Item = TypeVar("Item")


def an_order(number: int = 10, **changed: Any) -> OrderTotals:
    good: dict[str, Any] = {
        "state": "SETTLED",
        "buyer_id": BUYER,
        "currency": "EUR",
        "captured_minor": 500,
        "refunded_minor": 0,
    }
    return OrderTotals(order_id=UUID(int=number), **(good | changed))


def a_hold(number: int = 10, **changed: Any) -> Hold:
    good: dict[str, Any] = {
        "service": "orders",
        "wallet_id": BUYER,
        "account_id": 1,
        "currency": "EUR",
        "state": HoldState.CAPTURED,
        "held_minor": 500,
        "captured_minor": 500,
        "last_sequence": 1,
    }
    return Hold(hold_id=UUID(int=number), **(good | changed))


VOIDED: dict[str, Any] = {"state": HoldState.VOIDED, "captured_minor": 0, "voided_minor": 500}
RESERVED: dict[str, Any] = {"state": HoldState.COMMITTED, "captured_minor": 0}


@pytest.mark.parametrize(
    ("order", "hold"),
    [
        (an_order(), a_hold()),
        (an_order(state="PARTIALLY_REFUNDED", refunded_minor=200), a_hold(refunded_minor=200)),
        (an_order(state="PENDING", captured_minor=0), None),
        (an_order(state="PENDING", captured_minor=0), a_hold(**RESERVED)),
        (an_order(state="CONFIRMED", captured_minor=0), a_hold(**RESERVED)),
        (an_order(state="REJECTED", captured_minor=0), None),
        (an_order(state="CANCELLED", captured_minor=0), a_hold(**VOIDED)),
        (an_order(state="CANCELLED", captured_minor=0), a_hold(state=HoldState.TOMBSTONE, captured_minor=0)),
        (None, a_hold(state=HoldState.TOMBSTONE, captured_minor=0)),
    ],
)
def test_an_order_and_its_hold_agree(order: OrderTotals | None, hold: Hold | None) -> None:
    assert difference_of(order, hold) is None


@pytest.mark.parametrize(
    ("order", "hold"),
    [
        (an_order(), None),
        (an_order(state="CONFIRMED", captured_minor=0), None),
        (an_order(), a_hold(**RESERVED)),
        (an_order(), a_hold(captured_minor=499, voided_minor=1)),
        (an_order(), a_hold(wallet_id=UUID(int=2))),
        (an_order(), a_hold(currency="USD")),
        (an_order(), a_hold(refunded_minor=200)),
        (an_order(state="REFUNDED", refunded_minor=500), a_hold()),
        (an_order(state="REFUNDING", refunded_minor=100), a_hold()),
        (an_order(state="REJECTED", captured_minor=0), a_hold()),
        (an_order(state="CANCELLED"), a_hold()),
        (None, a_hold()),
    ],
)
def test_an_order_and_its_hold_contradict_each_other(order: OrderTotals | None, hold: Hold | None) -> None:
    difference = difference_of(order, hold)

    assert difference is not None
    assert not difference.under_way


@pytest.mark.parametrize(
    ("order", "hold"),
    [
        (an_order(state="CONFIRMED", captured_minor=0), a_hold()),
        (an_order(state="CANCELLING", captured_minor=0), a_hold()),
        (an_order(state="REFUNDING"), a_hold(refunded_minor=200)),
    ],
)
def test_a_ledger_that_is_ahead_is_under_way(order: OrderTotals, hold: Hold) -> None:
    difference = difference_of(order, hold)

    assert difference is not None
    assert difference.under_way


async def test_orders_and_holds_are_paired_by_their_ids() -> None:
    orders = [an_order(number) for number in (1, 2, 4)]
    holds = [a_hold(number) for number in (2, 3, 4, 5)]

    pairs = [(order and order.order_id.int, hold and hold.hold_id.int) async for order, hold in _pairs(orders, holds)]

    assert pairs == [(1, None), (2, 2), (None, 3), (4, 4), (None, 5)]


def _pairs(
    orders: Iterable[OrderTotals], holds: Iterable[Hold]
) -> AsyncIterator[tuple[OrderTotals | None, Hold | None]]:
    return pairs_of(_stream(orders), _stream(holds))


async def _stream(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


async def test_whoever_restored_orders_is_told_of_each_order_that_is_lost() -> None:
    holds = [a_hold(number, wallet_id=UUID(int=9), refunded_minor=200) for number in range(1, 2_501)]

    look = await compared(_stream([]), _stream(holds))

    assert {one.order_id.int for one in look.differences} == set(range(1, 2_501))
    assert look.unlisted == 0
    (message,) = {one.message for one in look.differences}
    assert message.endswith(f": wallet {UUID(int=9)}, EUR, 500 captured, 200 refunded, 0 held")


async def test_differences_that_are_too_many_to_be_kept_are_counted() -> None:
    look = await compared(_stream([an_order(number) for number in range(1, 6)]), _stream([]), differences_max=3)

    assert {one.order_id.int for one in look.differences} == {1, 2, 3}
    assert look.unlisted == 2


def test_a_difference_names_its_order() -> None:
    assert str(Difference(UUID(int=7), "it is odd")) == f"order {UUID(int=7)}: it is odd"
