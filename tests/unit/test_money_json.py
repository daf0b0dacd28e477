import msgspec
import pytest

from services.money import AMOUNT_MINOR_MAX, Money
from services.money_json import MoneyBody, PositiveMoneyBody
from services.runtime.errors import InvalidArgumentError


def test_money_is_written_and_read_back() -> None:
    money = Money(-1050, "EUR")

    text = msgspec.json.encode(MoneyBody.of(money))

    assert text == b'{"amount_minor":-1050,"currency":"EUR"}'
    assert msgspec.json.decode(text, type=MoneyBody).to_money() == money


@pytest.mark.parametrize(
    "text",
    [
        b'{"amount_minor":10.5,"currency":"EUR"}',
        b'{"amount_minor":1.0,"currency":"EUR"}',
        b'{"amount_minor":"10","currency":"EUR"}',
        b'{"amount_minor":true,"currency":"EUR"}',
        b'{"amount_minor":10}',
        b'{"amount_minor":10,"currency":""}',
        b'{"amount_minor":10,"currency":"EUR","note":"x"}',
        b'{"amount_minor":0,"currency":"EUR"}',
        b'{"amount_minor":-1,"currency":"EUR"}',
        b'{"amount_minor":%d,"currency":"EUR"}' % (AMOUNT_MINOR_MAX + 1),
    ],
)
def test_an_amount_in_a_request_is_a_positive_integer_of_a_currency(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=PositiveMoneyBody)


def test_the_largest_amount_passes() -> None:
    text = b'{"amount_minor":%d,"currency":"EUR"}' % AMOUNT_MINOR_MAX

    assert msgspec.json.decode(text, type=PositiveMoneyBody).to_money() == Money(AMOUNT_MINOR_MAX, "EUR")


@pytest.mark.parametrize("currency", ["ZZZ", "eur"])
def test_a_currency_that_does_not_exist_is_refused(currency: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        PositiveMoneyBody(amount_minor=1, currency=currency).to_money()

    assert refused.value.reason == "unknown_asset"
