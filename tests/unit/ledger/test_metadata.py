"""What callers want to find again with a record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.domain.metadata import METADATA_BYTES_MAX, decode_metadata, encode_metadata
from services.runtime.errors import InvalidArgumentError, KeyReusedError
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import NOW, capture, deposit, open_account, reserve, set_limit, withdraw

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5), TEXTS)
def test_metadata_and_note_are_read_back(metadata: dict[str, str], note: str) -> None:
    assert decode_metadata(encode_metadata(metadata, note)) == (metadata, note)


def test_the_order_of_names_is_no_difference() -> None:
    one, other = {"b": "1", "a": "2"}, {"a": "2", "b": "1"}

    assert encode_metadata(one) == encode_metadata(other) == b'{"metadata":{"a":"2","b":"1"}}'
    assert deposit(idempotency_key="k", metadata=one).fingerprint == deposit(metadata=other).fingerprint


def test_the_bytes_are_golden() -> None:
    assert encode_metadata({}) == b""
    assert encode_metadata({}, "é") == '{"note":"é"}'.encode()
    assert encode_metadata({"z": '"', "A": "\n"}, "n") == b'{"metadata":{"A":"\\n","z":"\\""},"note":"n"}'


@pytest.mark.parametrize(
    "metadata", [{"": "x"}, {"x": "a" * METADATA_BYTES_MAX}, {"x": "\ud800"}, {"\udfff": ""}], ids=repr
)
def test_metadata_that_can_not_be_kept_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        deposit(metadata=metadata)

    assert caught.value.reason == "metadata_malformed"


def test_metadata_may_fill_its_column_to_the_last_byte() -> None:
    frame = len(encode_metadata({"x": "y"})) - 1
    largest = {"x": "a" * (METADATA_BYTES_MAX - frame)}

    assert len(MemoryBook(deposit(metadata=largest)).records[-1].metadata) == METADATA_BYTES_MAX
    with pytest.raises(InvalidArgumentError):
        deposit(metadata=largest, note="n")
    with pytest.raises(InvalidArgumentError):
        deposit(metadata={"x": largest["x"] + "a"})


def test_metadata_is_kept_with_the_commands_own_record_and_no_other() -> None:
    book = MemoryBook(deposit(metadata={"invoice": "7"}, note="by post"))

    assert [decode_metadata(record.metadata) for record in book.records] == [
        *(({}, ""), ({}, ""), ({"invoice": "7"}, "by post"))
    ]


def test_a_command_that_only_opens_an_account_keeps_its_metadata_there() -> None:
    book = MemoryBook(open_account(metadata={"a": "b"}), set_limit(metadata={"c": "d"}))

    assert [decode_metadata(record.metadata)[0] for record in book.records] == [{"a": "b"}, {"c": "d"}]


def test_a_late_capture_that_is_refused_leaves_its_metadata_nowhere() -> None:
    book = MemoryBook(deposit(), reserve(expires_at=NOW.replace(minute=1), metadata={"r": "1"}))
    book.pass_time(NOW.replace(minute=1))

    book.refuse(capture(metadata={"c": "2"}))

    assert [decode_metadata(record.metadata)[0] for record in book.records[-2:]] == [{"r": "1"}, {}]


def test_the_same_key_with_other_metadata_is_other_content() -> None:
    book = MemoryBook(deposit(idempotency_key="k", metadata={"a": "1"}))

    for other in ({"a": "2"}, {"a": "1", "b": ""}, {}):
        assert isinstance(book.refuse(deposit(idempotency_key="k", metadata=other)), KeyReusedError)
    assert book.accept(deposit(idempotency_key="k", metadata={"a": "1"})).replayed


def test_a_note_is_no_metadata_of_that_name() -> None:
    assert withdraw(note="x").fingerprint != withdraw(metadata={"note": "x"}).fingerprint
    assert decode_metadata(withdraw(metadata={"note": "x"}, note="y").record_metadata) == ({"note": "x"}, "y")


def test_who_changes_the_mapping_later_changes_no_command() -> None:
    metadata = {"a": "1"}
    command = deposit(idempotency_key="k", metadata=metadata)
    metadata["a"] = "2"

    assert decode_metadata(command.record_metadata) == ({"a": "1"}, "")
