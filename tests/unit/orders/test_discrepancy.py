"""One order compared with one hold, as plain values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.orders.domain.discrepancy import DiscrepancyKind, OrderSums, discrepancy_of
from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order_state import OrderState

NOW = datetime(2026, 1, 1, tzinfo=UTC)

ORDER = OrderSums(
    order_id=UUID(int=1),
    version=4,
    state=OrderState.SETTLED,
    buyer_id=UUID(int=2),
    currency="EUR",
    captured_minor=1_000,
    refunded_minor=0,
    created_at=NOW,
    updated_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
)

HOLD = Hold(
    hold_id=ORDER.order_id,
    state=HoldState.CAPTURED,
    held_minor=1_000,
    captured_minor=1_000,
    voided_minor=0,
    remaining_minor=0,
    refunded_minor=0,
    wallet_id=ORDER.buyer_id,
    currency="EUR",
)


def test_an_order_and_the_hold_that_paid_for_it_agree() -> None:
    assert discrepancy_of(ORDER, HOLD, NOW) is None


@pytest.mark.parametrize(
    "hold", [replace(HOLD, currency="USD"), replace(HOLD, wallet_id=UUID(int=7))], ids=["currency", "wallet"]
)
def test_a_hold_of_another_currency_or_wallet_is_foreign(hold: Hold) -> None:
    found = discrepancy_of(ORDER, hold, NOW)

    assert found is not None
    assert found.kind is DiscrepancyKind.HOLD_FOREIGN


def test_a_tombstone_is_no_hold() -> None:
    found = discrepancy_of(ORDER, replace(HOLD, state=HoldState.TOMBSTONE, wallet_id=None, currency=""), NOW)

    assert found is not None
    assert found.kind is DiscrepancyKind.HOLD_MISSING
