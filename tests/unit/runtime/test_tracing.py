import pytest

from services.runtime.tracing import TraceContext, continued_trace, current_trace, current_traceparent, within_step

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
HEADER = f"00-{TRACE_ID}-{SPAN_ID}-01"


def test_a_header_is_read_and_written() -> None:
    assert str(TraceContext.parse(HEADER)) == HEADER


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-01-extra",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID}x-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-0g",
        f"00-{TRACE_ID}-{SPAN_ID}-01, {HEADER}",
        "00-٤bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "\x00" * 55,
    ],
)
def test_what_the_standard_forbids_is_no_trace(header: str | None) -> None:
    assert TraceContext.parse(header) is None


def test_a_later_version_is_read_by_what_it_shares_with_ours() -> None:
    parsed = TraceContext.parse(f"cc-{TRACE_ID}-{SPAN_ID}-09-what-comes-later")

    assert str(parsed) == HEADER


def test_a_new_trace_is_valid_and_its_own() -> None:
    first, second = TraceContext.new(), TraceContext.new()

    assert TraceContext.parse(str(first)) == first
    assert first.trace_id != second.trace_id


def test_a_callers_trace_is_continued_with_a_step_of_our_own() -> None:
    with continued_trace(HEADER) as trace:
        assert trace.trace_id == TRACE_ID
        assert trace.span_id != SPAN_ID
        assert current_traceparent() == str(trace)


def test_an_unsampled_trace_stays_unsampled() -> None:
    with continued_trace(f"00-{TRACE_ID}-{SPAN_ID}-00"):
        assert current_traceparent().endswith("-00")


@pytest.mark.parametrize("header", [None, "garbage"])
def test_without_a_good_header_a_trace_begins(header: str | None) -> None:
    with continued_trace(header):
        assert TraceContext.parse(current_traceparent()) is not None


def test_outside_of_a_trace_there_is_none() -> None:
    with continued_trace(HEADER):
        pass

    assert current_trace() is None
    assert current_traceparent() == ""


def test_work_for_several_callers_goes_on_inside_of_each_callers_own_step() -> None:
    with within_step(HEADER):
        assert current_traceparent() == HEADER

    assert current_trace() is None


def test_work_for_a_caller_outside_of_a_trace_is_in_none() -> None:
    with within_step(""):
        assert current_trace() is None
