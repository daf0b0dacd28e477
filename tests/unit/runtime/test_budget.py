"""How long the one who asked still waits."""

import pytest

from services.runtime.budget import ANSWER_SECONDS, parse_budget, render_budget, seconds_for_a_call, spending


@pytest.mark.parametrize(("header", "seconds"), [("0", 0.0), ("1500", 1.5), ("999999999", 999_999.999)])
def test_a_number_of_milliseconds_is_read(header: str, seconds: float) -> None:
    assert parse_budget(header) == seconds


@pytest.mark.parametrize("header", [None, "", "-1", "1.5", "1e3", " 1", "9999999999", "٣", "soon"])
def test_anything_else_is_no_budget(header: str | None) -> None:
    assert parse_budget(header) is None


@pytest.mark.parametrize(("seconds", "header"), [(1.5, "1500"), (0.0004, "0"), (-3.0, "0")])
def test_what_is_written_is_never_below_zero(seconds: float, header: str) -> None:
    assert render_budget(seconds) == header


def test_without_a_budget_a_call_takes_what_it_may() -> None:
    assert seconds_for_a_call(5.0) == 5.0


def test_a_call_takes_no_more_than_the_budget_leaves_and_leaves_time_for_the_answer() -> None:
    with spending(2.0):
        assert 0 < seconds_for_a_call(5.0) <= 2.0 - ANSWER_SECONDS
        assert seconds_for_a_call(0.001) == 0.001
    with spending(ANSWER_SECONDS):
        assert seconds_for_a_call(5.0) <= 0

    assert seconds_for_a_call(5.0) == 5.0
