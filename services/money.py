"""Money: an integer of minor units and the code of its asset. The one business value that every service speaks.

Never a float, never a fraction of a minor unit. Amounts stay within 2^53 - 1 in size, so that JSON numbers carry them
exactly everywhere. Constructing a `Money` checks it, so whoever holds one needs no further look.
"""

import re
from dataclasses import dataclass

from iso4217 import raw_table

from services.runtime.errors import InvalidArgumentError

AMOUNT_MINOR_MAX = 2**53 - 1
"""The largest amount, in minor units: what an IEEE double, and so a JSON number in a browser, carries exactly."""

EXPONENT_MAX = 8
"""The most decimal places an asset may have: with more, 2^53 - 1 minor units would be too little money."""

CURRENCY_CHARACTERS_MAX = 16
"""The longest asset code, in characters: the width of the databases' columns."""

_DECIMAL = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]{1,17})(?:\.(?P<fraction>[0-9]{1,17}))?", re.ASCII)


def _iso_exponents() -> dict[str, int]:
    """List ISO 4217's currencies and their exponents; codes without minor units (gold, testing codes) are left out."""
    units = {code: str(entry["CcyMnrUnts"]) for code, entry in raw_table.items()}
    return {code: int(places) for code, places in units.items() if places.isdigit() and int(places) <= EXPONENT_MAX}


_EXPONENTS: dict[str, int] = _iso_exponents()


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
            f"{currency[:CURRENCY_CHARACTERS_MAX]!r} is not an ISO 4217 code in capitals with minor units.",
            reason="unknown_asset",
        )
    return exponent


@dataclass(frozen=True, slots=True)
class Money:
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
