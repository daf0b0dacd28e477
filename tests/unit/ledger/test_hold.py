from datetime import timedelta
from itertools import product

import pytest
from msgspec.structs import replace

from services.ledger.domain.hold import HOLD_TRANSITIONS, Hold, HoldState, tombstone
from services.ledger.domain.refusals import ExceedsCaptureError, ExceedsHoldError, HoldClosedError
from tests.support.ledger_commands import BUYER, NOW, an_id

ALLOWED = {
    ("open", "open"),
    ("open", "committed"),
    ("open", "captured"),
    ("open", "voided"),
    ("open", "expired"),
    ("committed", "committed"),
    ("committed", "captured"),
    ("committed", "voided"),
}


def a_hold(state: HoldState = HoldState.OPEN, *, held: int = 100, captured: int = 0) -> Hold:
    return Hold(
        hold_id=an_id("order"),
        service="orders",
        wallet_id=BUYER,
        account_id=1,
        currency="EUR",
        state=state,
        held_minor=held,
        captured_minor=captured,
        expires_at=NOW if state is HoldState.OPEN else None,
        last_sequence=1,
    )


@pytest.mark.parametrize(("before", "after"), list(product(HoldState, HoldState)))
def test_a_hold_moves_only_along_the_table(before: HoldState, after: HoldState) -> None:
    hold = a_hold(before)

    if (before.value, after.value) in ALLOWED:
        assert hold._become(after, 2).state is after
    else:
        with pytest.raises(HoldClosedError):
            hold._become(after, 2)


def test_the_table_names_every_state() -> None:
    assert set(HOLD_TRANSITIONS) == set(HoldState)


@pytest.mark.parametrize("state", [state for state in HoldState if not HOLD_TRANSITIONS[state]])
def test_a_closed_hold_refuses_every_verb(state: HoldState) -> None:
    hold = a_hold(state)

    with pytest.raises(HoldClosedError):
        hold.commit(2)
    with pytest.raises(HoldClosedError):
        hold.capture(1, 2, final=False)
    with pytest.raises(HoldClosedError):
        hold.void(2)
    with pytest.raises(HoldClosedError):
        hold.expire(2)


def test_a_partial_capture_leaves_the_rest_held() -> None:
    hold = a_hold().capture(30, 2, final=False)

    assert (hold.state, hold.captured_minor, hold.remaining_minor) == (HoldState.OPEN, 30, 70)
    assert hold.expires_at == NOW


def test_a_final_capture_releases_the_rest() -> None:
    hold = a_hold(HoldState.COMMITTED).capture(30, 2, final=True)

    assert (hold.state, hold.captured_minor, hold.voided_minor, hold.remaining_minor) == (HoldState.CAPTURED, 30, 70, 0)


def test_capturing_all_closes_the_hold_without_saying_final() -> None:
    assert a_hold().capture(100, 2, final=False).state is HoldState.CAPTURED


def test_a_capture_takes_no_more_than_what_remains() -> None:
    with pytest.raises(ExceedsHoldError):
        a_hold(captured=60).capture(41, 2, final=False)


@pytest.mark.parametrize("verb", ["void", "expire"])
def test_a_hold_that_paid_something_ends_as_captured(verb: str) -> None:
    hold = getattr(a_hold(captured=60), verb)(2)

    assert (hold.state, hold.voided_minor, hold.remaining_minor) == (HoldState.CAPTURED, 40, 0)


def test_a_committed_hold_has_no_expiry_and_is_never_due() -> None:
    hold = a_hold().commit(2)

    assert hold.expires_at is None
    assert not hold.is_due(NOW + timedelta(days=365))


def test_an_open_hold_is_due_at_its_expiry_and_not_before() -> None:
    assert a_hold().is_due(NOW)
    assert not a_hold().is_due(NOW - timedelta(microseconds=1))


def test_refunds_stay_within_what_was_captured_and_keep_the_state() -> None:
    hold = replace(a_hold(HoldState.CAPTURED), captured_minor=100)

    assert hold.refund(100, 2).refunded_minor == 100
    assert hold.refund(100, 2).state is HoldState.CAPTURED
    with pytest.raises(ExceedsCaptureError):
        hold.refund(60, 2).refund(41, 3)


def test_a_tombstone_holds_nothing() -> None:
    mark = tombstone(hold_id=an_id("order"), service="orders", wallet_id=BUYER, sequence=1)

    assert (mark.state, mark.held_minor, mark.remaining_minor) == (HoldState.TOMBSTONE, 0, 0)
