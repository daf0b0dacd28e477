"""What the doors check of a field."""

from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.inbound import fields
from services.runtime.errors import InvalidArgumentError


@given(st.uuids())
def test_a_canonical_id_is_read_in_either_case(value: UUID) -> None:
    assert fields.id_of(str(value), "id") == fields.id_of(str(value).upper(), "id") == value


@pytest.mark.parametrize(
    "text", ["", "1", "{018f4e6e-7f3a-7c3a-8f7e-0123456789ab}", "018f4e6e7f3a7c3a8f7e0123456789ab"]
)
def test_any_other_form_of_an_id_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        fields.id_of(text, "hold_id")

    assert (refusal.value.reason, refusal.value.details) == ("id_malformed", {"field": "hold_id"})


@given(st.text(max_size=40))
def test_a_text_is_an_id_or_is_refused_and_nothing_else(text: str) -> None:
    with suppress(InvalidArgumentError):
        assert isinstance(fields.id_of(text, "id"), UUID)


@pytest.mark.parametrize(("size", "taken"), [(0, 50), (1, 1), (200, 200)])
def test_a_page_has_the_size_that_was_asked_or_the_default(size: int, taken: int) -> None:
    assert fields.page_size_of(size, default=50, most=200) == taken


@pytest.mark.parametrize("size", [-1, 201])
def test_a_page_out_of_bounds_is_refused(size: int) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        fields.page_size_of(size, default=50, most=200)

    assert refusal.value.reason == "page_size_malformed"
