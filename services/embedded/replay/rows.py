"""A record into a row that can be sold or given back, or a reject: all that one row alone can tell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from sys import intern

from services.embedded.replay.columns import ColumnPlaces
from services.embedded.replay.dates import instant_of
from services.embedded.replay.reading import Record
from services.embedded.replay.rejects import Reason, Reject
from services.money import AMOUNT_MINOR_MAX, Money, exponent_of, parse_decimal
from services.runtime.errors import InvalidArgumentError

QUANTITY_MAX = 1_000_000
"""Pieces in one line of an order; the public API's limit."""

TITLE_CHARACTERS_MAX = 200
"""A product's title; the public API's limit."""

NUMBER_CHARACTERS_MAX = 40
"""A longer number is taken for damage; it keeps arithmetic on hostile files cheap."""

PRICES_CACHED_MAX = 65_536
"""A shop has few different prices; a file of half a million rows is read in half the memory for it."""

WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
"""A whole number; ".0" is what a table program writes when a column once had a gap."""

DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
"""A plain decimal: no exponent, no grouping, a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the rows of a file are read."""

    places: ColumnPlaces
    currency: str
    return_prefix: str
    """An invoice whose number begins with it is a return."""
    customers_missing: frozenset[str]
    """What stands in the customer's column where nobody is named."""
    date_format: str | None
    """As strptime has it; None tries ISO 8601 and then `dates.DATE_FORMATS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that is right in itself."""

    row: int
    """Where it stands: its line in the file."""
    invoice: str
    stock_code: str
    title: str
    quantity: int
    """At least 1; of a return, how many are given back."""
    invoiced_at: datetime
    price: Money
    customer: str
    country: str
    is_return: bool

    @property
    def moment(self) -> tuple[datetime, int]:
        """When it happened; rows of one time happened in the file's order."""
        return self.invoiced_at, self.row


class _UnfitError(ValueError):
    """The row can't be an order."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parse_row(record: Record, reading: Reading) -> Row | Reject:
    """Read a record."""
    try:
        return _fit_row(record, reading)
    except _UnfitError as error:
        return Reject(row=record.row, reason=error.reason, message=str(error))


def _fit_row(record: Record, reading: Reading) -> Row:
    """Build the row, guards in the order of `Reason`: first all that makes it broken."""
    fields, places = _split(record, reading), reading.places
    invoice, stock_code = _named(fields[places.invoice], "invoice"), _named(fields[places.stock_code], "stock code")
    is_return = bool(reading.return_prefix) and invoice.startswith(reading.return_prefix)
    quantity, price = _whole(fields[places.quantity]), _decimal(fields[places.price])
    invoiced_at = _instant(fields[places.date].strip(), reading.date_format)
    customer = _known_customer(fields[places.customer].strip(), reading)
    row = Row(
        row=record.row,
        invoice=invoice,
        stock_code=stock_code,
        title=_title(fields, places.description, stock_code),
        quantity=abs(quantity) if is_return else quantity,
        invoiced_at=invoiced_at,
        price=_money(price, reading.currency),
        customer=customer,
        country=_optional(fields, places.country),
        is_return=is_return,
    )
    _check_size(row)
    return row


def _split(record: Record, reading: Reading) -> tuple[str, ...]:
    if record.fields is None:
        raise _UnfitError(Reason.BROKEN_ROW, "its quotes don't match up")
    if len(record.fields) != reading.places.width:
        message = f"it has {len(record.fields)} columns, the header has {reading.places.width}"
        raise _UnfitError(Reason.BROKEN_ROW, message)
    return record.fields


def _named(field: str, what: str) -> str:
    if not field.strip():
        raise _UnfitError(Reason.BROKEN_ROW, f"it has no {what}")
    return intern(field.strip())


def _optional(fields: Sequence[str], place: int | None) -> str:
    return "" if place is None else intern(_printable(fields[place]))


def _title(fields: Sequence[str], place: int | None, stock_code: str) -> str:
    title = _optional(fields, place) or _printable(stock_code) or "?"
    return intern(title[:TITLE_CHARACTERS_MAX].strip())


def _printable(text: str) -> str:
    """Make one line of it, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _whole(field: str) -> int:
    text = field.strip()
    if len(text) > NUMBER_CHARACTERS_MAX or not WHOLE.fullmatch(text):
        raise _UnfitError(Reason.BROKEN_ROW, f"quantity {text[:NUMBER_CHARACTERS_MAX]!r} is no whole number")
    return int(text.partition(".")[0])


def _decimal(field: str) -> Decimal:
    text = field.strip()
    if len(text) > NUMBER_CHARACTERS_MAX or not DECIMAL.fullmatch(text):
        raise _UnfitError(Reason.BROKEN_ROW, f"price {text[:NUMBER_CHARACTERS_MAX]!r} is no decimal number")
    return Decimal(text)


def _instant(text: str, date_format: str | None) -> datetime:
    instant = instant_of(text, date_format)
    if instant is None:
        raise _UnfitError(Reason.BROKEN_ROW, f"date {text[:NUMBER_CHARACTERS_MAX]!r} is in no known form")
    return instant


def _known_customer(customer: str, reading: Reading) -> str:
    if not customer or customer in reading.customers_missing:
        raise _UnfitError(Reason.CUSTOMER_MISSING, f"customer {customer!r}")
    return intern(customer)


@lru_cache(maxsize=PRICES_CACHED_MAX)
def _money(price: Decimal, currency: str) -> Money:
    written = f"price {price:f} {currency}"
    if price <= 0:
        raise _UnfitError(Reason.PRICE_NOT_POSITIVE, written)
    if price < Decimal(1).scaleb(-exponent_of(currency)):
        raise _UnfitError(Reason.PRICE_BELOW_MINOR_UNIT, written)
    whole, _, fraction = f"{price:f}".partition(".")
    try:
        return parse_decimal(f"{whole.lstrip('0') or '0'}.{fraction.rstrip('0') or '0'}", currency)
    except InvalidArgumentError as error:
        fractional = error.reason == "fractional_minor_unit"
        raise _UnfitError(Reason.FRACTIONAL_MINOR_UNIT if fractional else Reason.AMOUNT_TOO_LARGE, written) from error


def _check_size(row: Row) -> None:
    if row.quantity < 1:
        raise _UnfitError(Reason.QUANTITY_BELOW_ONE, f"quantity {row.quantity}")
    if row.is_return:
        return
    if row.quantity > QUANTITY_MAX:
        raise _UnfitError(Reason.QUANTITY_TOO_LARGE, f"quantity {row.quantity} is over {QUANTITY_MAX}")
    if row.quantity * row.price.amount_minor > AMOUNT_MINOR_MAX:
        raise _UnfitError(Reason.AMOUNT_TOO_LARGE, f"{row.quantity} at {row.price} is over {AMOUNT_MINOR_MAX} units")
