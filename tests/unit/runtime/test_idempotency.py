import pytest
from litestar.testing import RequestFactory

from services.runtime.errors import InvalidArgumentError
from services.runtime.idempotency import KEY_CHARACTERS_MAX, idempotency_key_of


def key_in(*values: str) -> str:
    request = RequestFactory().post("/")
    request.scope["headers"] = [(b"idempotency-key", value.encode("latin-1")) for value in values]
    return idempotency_key_of(request)


@pytest.mark.parametrize("key", ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "~!" * (KEY_CHARACTERS_MAX // 2)])
def test_visible_ascii_is_a_key(key: str) -> None:
    assert key_in(key) == key


def test_no_key_is_missing() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        key_in()

    assert refused.value.reason == "idempotency_key_missing"


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "a\tb", "a\n", "é", "\x7f", "a" * (KEY_CHARACTERS_MAX + 1)], ids=range(8)
)
def test_anything_else_is_malformed(key: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        key_in(key)

    assert refused.value.reason == "idempotency_key_malformed"


def test_two_keys_are_malformed() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        key_in("a", "b")

    assert refused.value.reason == "idempotency_key_malformed"
