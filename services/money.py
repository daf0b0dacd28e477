"""Money: an integer of minor units and the code of its asset. The one business value that every service speaks.

Assets are ISO 4217's currencies and those that an installation names by `register_assets`: points, tokens, hours.

Never a float, never a fraction of a minor unit. Amounts stay within 2^53 - 1 in size, so that JSON numbers carry them
exactly everywhere. Constructing a `Money` checks it, so whoever holds one needs no further look.
"""

import re
from collections.abc import Mapping

from iso4217 import raw_table
from msgspec import Struct

from services.runtime.errors import InvalidArgumentError

AMOUNT_MINOR_MAX = 2**53 - 1
"""The largest amount, in minor units: what an IEEE double, and so a JSON number in a browser, carries exactly."""

EXPONENT_MAX = 8
"""The most decimal places an asset may have: with more, 2^53 - 1 minor units would be too little money."""

CURRENCY_CHARACTERS_MAX = 16
"""The longest asset code, in characters: the width of the databases' columns."""

_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,15}", re.ASCII)

_DECIMAL = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]{1,17})(?:\.(?P<fraction>[0-9]{1,17}))?", re.ASCII)


def _iso_exponents() -> dict[str, int]:
    """List ISO 4217's currencies and their exponents; codes without minor units (gold, testing codes) are left out."""
    units = {code: str(entry["CcyMnrUnts"]) for code, entry in raw_table.items()}
    return {code: int(places) for code, places in units.items() if places.isdigit() and int(places) <= EXPONENT_MAX}


_EXPONENTS: dict[str, int] = _iso_exponents()


def check_assets(assets: Mapping[str, int]) -> Mapping[str, int]:
    """Give assets of an installation's own back if they can be registered: codes and their exponents.

    Raises:
        ValueError: A code isn't 3 to 16 of A-Z, 0-9 and _ that begin with a letter, an exponent isn't 0 to 8, or an
            asset of that code has another exponent: amounts of one asset would mean two things.
    """
    for code, exponent in assets.items():
        if not _CODE.fullmatch(code):
            raise ValueError(f"{code!r} is no asset code: 3 to 16 of A-Z, 0-9 and _, a letter first")
        if not 0 <= exponent <= EXPONENT_MAX:
            raise ValueError(f"{code} has 0 to {EXPONENT_MAX} decimal places, not {exponent}")
        if _EXPONENTS.get(code, exponent) != exponent:
            raise ValueError(f"{code} has {_EXPONENTS[code]} decimal places already")
    return assets


def register_assets(assets: Mapping[str, int]) -> None:
    """Make assets known in this process, for good; each service does so at its start, from the setting `assets`.

    All services of an installation name the same, and an asset that a book has stays named.

    Raises:
        ValueError: See `check_assets`; then none is registered.
    """
    _EXPONENTS.update(check_assets(assets))


def exponents() -> Mapping[str, int]:
    """List the assets that this process knows, with their exponents."""
    return dict(_EXPONENTS)


class CurrencyMismatchError(InvalidArgumentError):
    """Amounts of two assets met where one was needed."""

    default_reason = "currency_mismatch"


def exponent_of(currency: str) -> int:
    """Tell how many decimal places the asset has: 2 for EUR, 0 for JPY, 3 for BHD.

    Raises:
        InvalidArgumentError: `unknown_asset`.
    """
    exponent = _EXPONENTS.get(currency)
    if exponent is None:
        raise InvalidArgumentError(
            f"{currency[:CURRENCY_CHARACTERS_MAX]!r} is no asset here; ISO 4217 codes in capitals are.",
            reason="unknown_asset",
        )
    return exponent


class Money(Struct, frozen=True, gc=False):
    """An amount of one asset; negative where a sign makes sense, as in a statement.

    Raises:
        InvalidArgumentError: `invalid_amount` beyond ±(2^53 - 1), `unknown_asset`.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int or not -AMOUNT_MINOR_MAX <= self.amount_minor <= AMOUNT_MINOR_MAX:
            raise InvalidArgumentError(
                f"An amount is a whole number of minor units, at most {AMOUNT_MINOR_MAX} in size.",
                reason="invalid_amount",
            )
        if self.currency not in _EXPONENTS:
            exponent_of(self.currency)

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount_minor + self._same_currency(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount_minor - self._same_currency(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount_minor, self.currency)

    def __mul__(self, quantity: int) -> "Money":
        return Money(self.amount_minor * quantity, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount_minor < self._same_currency(other)

    def __le__(self, other: "Money") -> bool:
        return self.amount_minor <= self._same_currency(other)

    def __gt__(self, other: "Money") -> bool:
        return self.amount_minor > self._same_currency(other)

    def __ge__(self, other: "Money") -> bool:
        return self.amount_minor >= self._same_currency(other)

    def __str__(self) -> str:
        return self.format()

    def format(self) -> str:
        """Write it for people: `12.50 EUR`, `500 JPY`. `parse_decimal` reads the number back exactly."""
        exponent = exponent_of(self.currency)
        sign = "-" if self.amount_minor < 0 else ""
        if exponent == 0:
            return f"{self.amount_minor} {self.currency}"
        whole, fraction = divmod(abs(self.amount_minor), 10**exponent)
        return f"{sign}{whole}.{fraction:0{exponent}d} {self.currency}"

    def _same_currency(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise CurrencyMismatchError(f"{self.currency} and {other.currency} don't mix.")
        return other.amount_minor


def parse_decimal(text: str, currency: str) -> Money:
    """Read a decimal number such as `2.55` exactly.

    Zeros past the asset's last place are fine (`2.550` EUR), anything else there is not.

    Raises:
        InvalidArgumentError: `invalid_amount` for what is no plain decimal number or too large,
            `fractional_minor_unit` for a part of a cent, `unknown_asset`.
    """
    exponent = exponent_of(currency)
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(
            "An amount is written in plain digits, such as 12 or 12.50.", reason="invalid_amount"
        )
    fraction = match["fraction"] or ""
    if fraction[exponent:].strip("0"):
        raise InvalidArgumentError(f"{currency} has {exponent} decimal places.", reason="fractional_minor_unit")
    amount_minor = int(match["whole"] + fraction[:exponent].ljust(exponent, "0"))
    return Money(-amount_minor if match["sign"] else amount_minor, currency)
