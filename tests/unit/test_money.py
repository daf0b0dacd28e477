import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.money import AMOUNT_MINOR_MAX, EXPONENT_MAX, CurrencyMismatchError, Money, exponent_of, parse_decimal
from services.runtime.errors import InvalidArgumentError

CURRENCIES = st.sampled_from(["EUR", "GBP", "JPY", "BHD", "CLF"])


def test_each_currency_has_its_own_exponent() -> None:
    assert [exponent_of(code) for code in ("EUR", "JPY", "BHD", "CLF")] == [2, 0, 3, 4]


@pytest.mark.parametrize("code", ["XAU", "XXX", "eur", "", "EURO", "BTC", "É"])
def test_a_code_without_minor_units_or_unknown_is_refused(code: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Money(1, code)

    assert caught.value.reason == "unknown_asset"


def test_no_currency_has_more_places_than_the_ledger_carries() -> None:
    assert exponent_of("CLF") <= EXPONENT_MAX


@pytest.mark.parametrize("amount", [AMOUNT_MINOR_MAX + 1, -AMOUNT_MINOR_MAX - 1, 1.5, 1.0, True, "1", None])
def test_an_amount_is_a_whole_number_within_two_to_the_53(amount: object) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Money(amount, "EUR")  # type: ignore[arg-type]  # the point of the test

    assert caught.value.reason == "invalid_amount"


def test_sums_beyond_the_limit_are_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        Money(AMOUNT_MINOR_MAX, "EUR") + Money(1, "EUR")


def test_money_of_one_currency_adds_subtracts_multiplies_and_compares() -> None:
    assert Money(150, "EUR") + Money(50, "EUR") == Money(200, "EUR")
    assert Money(150, "EUR") - Money(200, "EUR") == Money(-50, "EUR")
    assert Money(150, "EUR") * 3 == -Money(-450, "EUR")
    assert Money(1, "EUR") < Money(2, "EUR") <= Money(2, "EUR")
    assert Money(3, "EUR") > Money(2, "EUR") >= Money(2, "EUR")


def test_two_currencies_never_mix() -> None:
    euros, yen = Money(1, "EUR"), Money(1, "JPY")

    for mix in (lambda: euros + yen, lambda: euros - yen, lambda: euros < yen, lambda: euros >= yen):
        with pytest.raises(CurrencyMismatchError) as caught:
            mix()
        assert caught.value.reason == "currency_mismatch"
    assert euros != yen


@pytest.mark.parametrize(
    ("text", "currency", "amount_minor"),
    [
        ("2.55", "GBP", 255),
        ("2.5", "GBP", 250),
        ("2", "GBP", 200),
        ("2.550", "GBP", 255),
        ("-0.01", "GBP", -1),
        ("7", "JPY", 7),
        ("7.0", "JPY", 7),
        ("0.001", "BHD", 1),
        ("90071992547409.91", "EUR", AMOUNT_MINOR_MAX),
    ],
)
def test_decimals_are_read_exactly(text: str, currency: str, amount_minor: int) -> None:
    assert parse_decimal(text, currency) == Money(amount_minor, currency)


@pytest.mark.parametrize(("text", "currency"), [("2.555", "GBP"), ("0.5", "JPY"), ("0.0001", "BHD")])
def test_a_part_of_a_minor_unit_is_refused(text: str, currency: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_decimal(text, currency)

    assert caught.value.reason == "fractional_minor_unit"


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1e3", "1,5", ".5", "1.", "+1", "NaN", "٣", "--1", "90071992547409.92"]
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_decimal(text, "EUR")

    assert caught.value.reason == "invalid_amount"


@given(st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX), CURRENCIES)
def test_what_format_writes_parse_decimal_reads_back(amount_minor: int, currency: str) -> None:
    money = Money(amount_minor, currency)

    number, code = str(money).split(" ")

    assert parse_decimal(number, code) == money
