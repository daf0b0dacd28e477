"""Which moves of an order its sellers are told."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.money import Money
from services.orders.domain.order import CaptureMode, Order, OrderLine, begin_order
from services.orders.domain.webhook import told_changes

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def an_order(capture: CaptureMode = CaptureMode.AUTOMATIC) -> Order:
    line = OrderLine(
        line_number=1,
        sku="tea",
        title="Tea",
        quantity=2,
        unit_price=Money(500, "EUR"),
        seller_id=UUID(int=1),
        stock_tracked=False,
    )
    return begin_order(
        order_id=UUID(int=1),
        buyer_id=UUID(int=2),
        capture=capture,
        lines=[line],
        fee_basis_points=250,
        now=NOW,
        expires_at=NOW + timedelta(minutes=15),
    )


def settled(order: Order) -> Order:
    return order.reserve(NOW).confirm(NOW).settle(order.total, NOW)


def told(order: Order) -> list[str]:
    return [event_type for _, event_type in told_changes(order)]


def test_a_reservation_is_told_where_somebody_has_to_confirm() -> None:
    assert told(settled(an_order(CaptureMode.MANUAL))) == ["order.reserved", "order.confirmed", "order.settled"]
    assert told(settled(an_order())) == ["order.confirmed", "order.settled"]


def test_a_refund_that_was_refused_is_no_second_settlement() -> None:
    order = settled(an_order()).begin_refunding(NOW).give_up_refunding("insufficient_funds", NOW)

    assert told(order) == ["order.confirmed", "order.settled"]


def test_each_refund_is_told_and_the_intent_is_not() -> None:
    order = settled(an_order())
    for _ in range(2):
        order = order.begin_refunding(NOW).finish_refunding({1: 1}, {1: 500}, NOW)

    assert told(order)[2:] == ["order.refunded", "order.refunded"]
