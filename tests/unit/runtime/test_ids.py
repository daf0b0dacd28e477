"""Identifiers are the standard library's, however they are made."""

import pickle

import pytest

from services.runtime.ids import id_of_bytes, new_id


def test_new_ids_are_of_version_7_and_rise() -> None:
    ids = [new_id() for _ in range(100)]

    assert {identifier.version for identifier in ids} == {7}
    assert ids == sorted(set(ids))


def test_an_id_read_of_its_bytes_is_the_one_that_uuid_makes() -> None:
    identifier = new_id()

    read = id_of_bytes(identifier.bytes)

    assert read == identifier
    assert (hash(read), repr(read), read.is_safe) == (hash(identifier), repr(identifier), identifier.is_safe)
    assert pickle.loads(pickle.dumps(read)) == identifier  # noqa: S301 - our own bytes


@pytest.mark.parametrize("length", [0, 15, 17])
def test_other_than_sixteen_bytes_are_no_id(length: int) -> None:
    with pytest.raises(ValueError, match="UUID"):
        id_of_bytes(bytes(length))
