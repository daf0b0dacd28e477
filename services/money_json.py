"""Money as the public API writes and reads it: `{"amount_minor": 1050, "currency": "EUR"}`."""

from typing import Annotated, Self

import msgspec

from services.money import AMOUNT_MINOR_MAX, CURRENCY_CHARACTERS_MAX, Money


class MoneyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount in minor units of an asset, of any sign; `to_money` says what is wrong with it."""

    amount_minor: int
    currency: str

    @classmethod
    def of(cls, money: Money) -> Self:
        """Write an amount."""
        return cls(money.amount_minor, money.currency)

    def to_money(self) -> Money:
        """Read the amount.

        Raises:
            InvalidArgumentError: `invalid_amount`, `unknown_asset`.
        """
        return Money(self.amount_minor, self.currency)


class PositiveMoneyBody(MoneyBody, frozen=True, forbid_unknown_fields=True):
    """An amount that must be at least one minor unit; a wrong one never gets past the decoder."""

    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX)]
    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=CURRENCY_CHARACTERS_MAX)]
