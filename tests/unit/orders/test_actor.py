"""What each one sees of an order of two sellers."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.money import Money
from services.orders.domain.actor import Actor
from services.orders.domain.order import CaptureMode, OrderLine, begin_order
from services.orders.domain.user import Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BUYER, SELLER, OTHER_SELLER, STRANGER = (UUID(int=number) for number in range(1, 5))


def a_line(number: int, seller: UUID) -> OrderLine:
    return OrderLine(
        line_number=number,
        sku=f"sku-{number}",
        title="A thing",
        quantity=1,
        unit_price=Money(500, "EUR"),
        seller_id=seller,
        stock_tracked=False,
    )


ORDER = begin_order(
    order_id=UUID(int=9),
    buyer_id=BUYER,
    capture=CaptureMode.AUTOMATIC,
    lines=[a_line(1, SELLER), a_line(2, OTHER_SELLER)],
    fee_basis_points=250,
    now=NOW,
    expires_at=NOW,
)


@pytest.mark.parametrize(
    ("user_id", "role", "seen"),
    [
        (BUYER, Role.BUYER, [1, 2]),
        (SELLER, Role.MERCHANT, [1]),
        (OTHER_SELLER, Role.MERCHANT, [2]),
        (STRANGER, Role.OPERATOR, [1, 2]),
        (STRANGER, Role.MERCHANT, []),
    ],
)
def test_a_seller_sees_the_own_lines_and_no_others(user_id: UUID, role: Role, seen: list[int]) -> None:
    actor = Actor(user_id=user_id, roles=frozenset({role}))

    assert [line.line_number for line in actor.lines_seen(ORDER)] == seen


def test_buyers_and_operators_see_all_and_a_seller_among_several_does_not() -> None:
    actors = [(BUYER, Role.BUYER), (STRANGER, Role.OPERATOR), (SELLER, Role.MERCHANT)]

    assert [Actor(user_id=user_id, roles=frozenset({role})).sees_all(ORDER) for user_id, role in actors] == [
        True,
        True,
        False,
    ]


def test_an_only_seller_sees_all() -> None:
    alone = replace(ORDER, lines=ORDER.lines[:1])

    assert Actor(user_id=SELLER, roles=frozenset({Role.MERCHANT})).sees_all(alone)
