"""Why a row can't be an order: the closed list of reasons."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Why a row was rejected. They are tried in this order, so a row has the first that applies."""

    sentence: str

    def __new__(cls, word: str, sentence: str) -> Self:
        """Give the word its sentence."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member

    BROKEN_ROW = "broken_row", "it can't be read: columns missing or too many, quotes open, a field of another kind"
    CUSTOMER_MISSING = "customer_missing", "nobody is named who bought it"
    PRICE_NOT_POSITIVE = "price_not_positive", "the price is zero or negative"
    PRICE_BELOW_MINOR_UNIT = "price_below_minor_unit", "the price is below the currency's smallest unit"
    FRACTIONAL_MINOR_UNIT = "fractional_minor_unit", "the price has a fraction of the currency's smallest unit"
    QUANTITY_BELOW_ONE = "quantity_below_one", "nothing is bought or, in a return, given back"
    QUANTITY_TOO_LARGE = "quantity_too_large", "more pieces than an order's line can have"
    AMOUNT_TOO_LARGE = "amount_too_large", "more money than the ledger can hold in one amount"
    RETURN_WITHOUT_PURCHASE = (
        "return_without_purchase",
        "the customer had bought none of it before, or had given all of it back",
    )
    TOTAL_CHANGED = (
        "total_changed",
        "a price changed on the platform meanwhile, so the order, or that of a return, wasn't placed",
    )
    REFUSED_BY_PLATFORM = "refused_by_platform", "the platform refused the order, or the order that a return is for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A row that has no effect, and why."""

    row: int
    """The line in the file where it begins; the header is line 1."""
    reason: Reason
    message: str
