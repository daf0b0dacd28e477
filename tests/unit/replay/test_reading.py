"""Bytes into records: one broken line is one broken record."""

import pytest

from services.embedded.replay.columns import ColumnNames, MissingColumnError, find_columns
from services.embedded.replay.reading import UnreadableFileError, decode, read_records
from tests.support.csv_orders import HEADER


def rows_of(text: str) -> list[tuple[int, tuple[str, ...] | None]]:
    _, records = read_records(text)
    return [(record.row, record.fields) for record in records]


def test_a_record_has_the_line_where_it_begins() -> None:
    assert rows_of("a,b\n1,2\n3,4\n") == [(2, ("1", "2")), (3, ("3", "4"))]


def test_a_quoted_line_break_belongs_to_its_record() -> None:
    assert rows_of('a,b\n1,"x\ny"\n3,4') == [(2, ("1", "x\ny")), (4, ("3", "4"))]


def test_a_quote_that_is_never_closed_costs_one_line() -> None:
    assert rows_of('a,b\n1,"x\n3,4\n5,6') == [(2, None), (3, ("3", "4")), (4, ("5", "6"))]


def test_two_lines_with_open_quotes_that_happen_to_pair_up_do_not_swallow_what_is_between() -> None:
    assert rows_of('a,b\n1,"x\n3,4\n5,y"\n7,8') == [(2, ("1", "x\n3,4\n5,y")), (5, ("7", "8"))]
    assert rows_of('a,b\n1,"x\n3,4\n"y",z"\n7,8')[1:] == [(3, ("3", "4")), (4, ("y", 'z"')), (5, ("7", "8"))]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do_and_empty_lines_are_no_rows(end: str) -> None:
    assert rows_of(end.join(("a,b", "1,2", "", "3,4", ""))) == [(2, ("1", "2")), (4, ("3", "4"))]


def test_separators_that_only_look_like_line_ends_are_text() -> None:
    assert rows_of("a,b\n1\x0b2,x\u2028y\x85z\n") == [(2, ("1\x0b2", "x\u2028y\x85z"))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_western_files_are_read_whatever_they_were_saved_in(encoding: str) -> None:
    assert decode("InvoiceNo,£40".encode(encoding)) == "InvoiceNo,£40"


def test_bytes_that_no_code_page_has_are_read_all_the_same() -> None:
    assert decode(b"a\x81") == "a\x81"


def test_an_encoding_that_was_named_must_fit() -> None:
    with pytest.raises(UnreadableFileError, match="utf-8"):
        decode(b"\xa340", "utf-8")
    with pytest.raises(UnreadableFileError, match="klingon"):
        decode(b"40", "klingon")


@pytest.mark.parametrize("text", ["", "\n1,2\n", '"open\n1,2'])
def test_a_file_without_a_header_is_refused(text: str) -> None:
    with pytest.raises(UnreadableFileError, match="header"):
        read_records(text)


def test_a_missing_column_is_named_with_its_option_and_what_was_found() -> None:
    with pytest.raises(MissingColumnError) as failure:
        find_columns(("InvoiceNo", "Sku", "Quantity", "When", "UnitPrice", "CustomerID"), ColumnNames())

    message = failure.value.message
    assert "'StockCode' (set by --column-stock-code)" in message
    assert "'InvoiceDate' (set by --column-date)" in message
    assert "'Sku'" in message
    assert "Description" not in message


def test_an_optional_column_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(MissingColumnError, match="--column-country"):
        find_columns(HEADER, ColumnNames(country="Land"))


def test_columns_may_stand_anywhere_and_have_other_names() -> None:
    places = find_columns((" CustomerID ", *HEADER[:6], "x"), ColumnNames())

    assert (places.customer, places.invoice, places.country, places.width) == (0, 1, None, 8)
