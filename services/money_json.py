"""Money as the public API writes and reads it: `{"amount_minor": 1050, "currency": "EUR"}`."""

from typing import Annotated, Self

import msgspec

from services.money import AMOUNT_MINOR_MAX, Money

Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{1,12}$", description="An ISO 4217 code", examples=["EUR"])]
"""A currency's code; whether there is such a currency is `services.money`'s to say."""


class MoneyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount in answers: any sign."""

    amount_minor: Annotated[
        int, msgspec.Meta(ge=-AMOUNT_MINOR_MAX, le=AMOUNT_MINOR_MAX, description="Whole minor units (cents)")
    ]
    currency: Currency

    @classmethod
    def of(cls, money: Money) -> Self:
        """Write an amount."""
        return cls(amount_minor=money.amount_minor, currency=money.currency)

    def to_money(self) -> Money:
        """Read the amount.

        Raises:
            InvalidArgumentError: There is no such currency.
        """
        return Money(self.amount_minor, self.currency)


class PositiveMoneyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount in requests: at least one minor unit."""

    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX, description="Whole minor units (cents)")]
    currency: Currency

    def to_money(self) -> Money:
        """Read the amount.

        Raises:
            InvalidArgumentError: There is no such currency.
        """
        return Money(self.amount_minor, self.currency)
