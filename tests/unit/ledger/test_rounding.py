from hypothesis import assume, given
from hypothesis import strategies as st

from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.rounding import fee_of, next_fee
from services.money import AMOUNT_MINOR_MAX
from tests.support.ledger_commands import SELLER, an_id

GROSSES = st.lists(st.integers(1, AMOUNT_MINOR_MAX // 20), min_size=1, max_size=10)
BASIS_POINTS = st.integers(0, 10_000)


@given(GROSSES, BASIS_POINTS)
def test_any_split_of_captures_pays_the_fee_of_the_whole(grosses: list[int], basis_points: int) -> None:
    captured = taken = 0

    for gross in grosses:
        fee = next_fee(captured_minor=captured, gross_minor=gross, basis_points=basis_points, fee_taken_minor=taken)
        assert 0 <= fee <= gross
        captured, taken = captured + gross, taken + fee

    assert taken == fee_of(sum(grosses), basis_points) == sum(grosses) * basis_points // 10_000


@given(GROSSES, BASIS_POINTS)
def test_any_split_of_refunds_gives_all_of_the_fee_back(parts: list[int], basis_points: int) -> None:
    gross = sum(parts)
    leg = a_leg(gross, fee_of(gross, basis_points))

    for part in parts:
        after = leg.refund(part, 2)
        assert 0 <= after.fee_returned_minor - leg.fee_returned_minor <= part
        leg = after

    assert (leg.gross_refunded_minor, leg.fee_returned_minor) == (gross, leg.fee_minor)
    assert leg.refundable_minor == 0


@given(st.integers(1, 10_000), st.integers(0, 10_000), st.data())
def test_a_part_of_a_refund_never_gives_more_than_its_share_of_the_fee(
    gross: int, fee: int, data: st.DataObject
) -> None:
    assume(fee <= gross)
    part = data.draw(st.integers(1, gross))

    assert a_leg(gross, fee).refund(part, 2).fee_returned_minor * gross <= part * fee


def a_leg(gross: int, fee: int) -> CaptureLeg:
    return CaptureLeg(
        hold_id=an_id("order"),
        capture_number=1,
        seller_id=SELLER,
        account_id=1,
        fee_basis_points=0,
        gross_minor=gross,
        fee_minor=fee,
        last_sequence=1,
    )
