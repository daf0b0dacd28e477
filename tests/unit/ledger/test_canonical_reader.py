"""Canonical bytes are read back whole, or not at all."""

import pytest

from services.ledger.domain.canonical import FieldReader, encode_field
from services.ledger.domain.proof import uuid7_bytes

ABSENT = encode_field(None)


@pytest.mark.parametrize("length", range(7))
def test_a_field_that_was_cut_is_not_read(length: int) -> None:
    cut = encode_field("abc")[:length]

    with pytest.raises(ValueError, match="end inside a field"):
        FieldReader(cut).text()


@pytest.mark.parametrize("field", [b"", b"\x01", bytes(7), bytes(9)])
def test_an_integer_of_another_length_is_not_read(field: bytes) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        FieldReader(encode_field(field)).integer()


def test_a_field_that_must_be_there_is_not_read_where_it_is_absent() -> None:
    with pytest.raises(ValueError, match="absent"):
        FieldReader(ABSENT).bytes()

    assert FieldReader(ABSENT).optional_bytes() is None


def test_a_record_id_has_all_the_random_bits_that_there_are() -> None:
    one, none = (int.from_bytes(uuid7_bytes(0, random), "big") for random in (b"\xff" * 10, bytes(10)))

    assert (one ^ none).bit_count() == 74
