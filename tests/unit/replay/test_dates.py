"""A date is read in the form that was named, and a form that reads no date is refused before any row is."""

import pytest

from services.embedded.replay.dates import check_date_format
from services.embedded.replay.plan import FileForm, make_plan
from services.embedded.replay.rejects import Reason
from services.runtime.errors import InvalidArgumentError
from tests.support.csv_orders import HEADER


@pytest.mark.parametrize("date_format", ["%", "%Y%", "%Q", "%-d/%m/%Y", "%F", "%Y %Y", "%s", "%d/%m/%Y\0"])
def test_a_format_that_strptime_does_not_take_is_refused_with_one_that_it_takes(date_format: str) -> None:
    with pytest.raises(InvalidArgumentError, match="%d/%m/%Y %H:%M") as refused:
        check_date_format(date_format)

    assert refused.value.reason == "date_format_malformed"


@pytest.mark.parametrize("date_format", ["DD/MM/YYYY", "%%", "%H:%M", "%Y-%m"])
def test_a_format_that_names_no_whole_date_is_refused(date_format: str) -> None:
    with pytest.raises(InvalidArgumentError, match="day, month and year"):
        check_date_format(date_format)


@pytest.mark.parametrize(
    ("date_format", "text"),
    [
        ("%d/%m/%Y", "23/11/2010"),
        ("%d.%m.%y %H:%M", "23.11.10 20:47"),
        ("%Y-%m-%dT%H:%M:%S%z", "2010-11-23T20:47:59+0100"),
        ("%Y-%m-%d %Z", "2010-11-23 UTC"),
        ("%A, %d %B %Y %I:%M %p", "Tuesday, 23 November 2010 08:47 PM"),
        ("%Y-%j", "2010-327"),
        ("%G-W%V-%u", "2010-W47-2"),
        ("%c", "Tue Nov 23 20:47:59 2010"),
    ],
)
def test_a_format_that_names_a_date_is_taken_and_reads_it(date_format: str, text: str) -> None:
    check_date_format(date_format)

    content = "\n".join((",".join(HEADER), f'1,71053,LANTERN,5,"{text}",2.55,17850,Norway')).encode()
    (order,) = make_plan(content, FileForm(date_format=date_format)).orders
    assert order.rows[0].invoiced_at.date().isoformat() == "2010-11-23"


def test_a_date_in_another_form_than_the_named_one_is_a_broken_row() -> None:
    content = "\n".join((",".join(HEADER), "1,71053,LANTERN,5,2010-11-23,2.55,17850,Norway")).encode()

    (reject,) = make_plan(content, FileForm(date_format="%d/%m/%Y")).rejects

    assert reject.reason is Reason.BROKEN_ROW
