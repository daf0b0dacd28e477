import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.settings import LedgerSettings
from services.money import (
    AMOUNT_MINOR_MAX,
    EXPONENT_MAX,
    CurrencyMismatchError,
    Money,
    exponent_of,
    parse_decimal,
    register_assets,
)
from services.runtime.errors import InvalidArgumentError
from services.runtime.settings import load_settings

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


def test_an_installation_names_assets_of_its_own() -> None:
    register_assets({"TEST_PTS": 0, "TEST8DEC": 8})

    assert str(Money(5, "TEST_PTS")) == "5 TEST_PTS"
    assert parse_decimal("0.00000001", "TEST8DEC") == Money(1, "TEST8DEC")
    register_assets({"TEST_PTS": 0})  # again, as a second service in this process would


@pytest.mark.parametrize(
    "assets",
    [
        *({"pts": 0}, {"PT": 0}, {"P" * 17: 0}, {"0PTS": 0}, {"_PTS": 0}, {"PTS ": 0}, {"PÜS": 0}, {"PTS\n": 0}),
        *({"PTS": -1}, {"PTS": 9}, {"EUR": 3}, {"JPY": 2}),
    ],
    ids=str,
)
def test_an_asset_that_would_be_misread_is_refused_and_none_beside_it_is_known(assets: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"asset code|decimal places"):
        register_assets({"TEST_NEVER": 2, **assets})

    with pytest.raises(InvalidArgumentError):
        Money(1, "TEST_NEVER")


def test_a_wrong_asset_stops_the_start_and_names_its_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADEFLOW_LEDGER_ASSETS", '{"EUR": 3}')

    with pytest.raises(SystemExit):
        load_settings(LedgerSettings)

    assert "TRADEFLOW_LEDGER_ASSETS" in capsys.readouterr().err
