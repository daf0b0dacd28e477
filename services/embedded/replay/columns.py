"""Which column of a file says what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from services.runtime.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnNames:
    """The header's words; the defaults are those of the UCI Online Retail file."""

    invoice: str = "InvoiceNo"
    stock_code: str = "StockCode"
    description: str = "Description"
    quantity: str = "Quantity"
    date: str = "InvoiceDate"
    price: str = "UnitPrice"
    customer: str = "CustomerID"
    country: str = "Country"


OPTIONAL = ("description", "country")
"""A file may lack these: the stock code is the title then, and a deposit's note names no country."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlaces:
    """Where the columns stand in a record, from 0."""

    width: int
    invoice: int
    stock_code: int
    description: int | None
    quantity: int
    date: int
    price: int
    customer: int
    country: int | None


class MissingColumnError(InvalidArgumentError):
    """The header lacks a column that a row needs."""

    default_reason = "column_missing"


def option_of(part: str) -> str:
    """Name the command line's option that sets a column's name."""
    return "--column-" + part.replace("_", "-")


def find_columns(header: Sequence[str], names: ColumnNames) -> ColumnPlaces:
    """Look the columns up in a file's header; blanks around a name don't count.

    Raises:
        MissingColumnError: Names each missing column, the option that sets it, and the columns that are there.
    """
    found = {name.strip(): place for place, name in reversed(list(enumerate(header)))}
    missing = [(part, name) for part, name in _wanted(names) if name not in found and not _may_lack(part, name)]
    if missing:
        wanted = ", ".join(f"{name!r} (set by {option_of(part)})" for part, name in missing)
        there = ", ".join(repr(name.strip()) for name in header)
        raise MissingColumnError(f"the file has no column {wanted}; its columns are: {there}")
    return _places(len(header), {part: found.get(name) for part, name in _wanted(names)})


def _wanted(names: ColumnNames) -> Iterator[tuple[str, str]]:
    return ((field.name, getattr(names, field.name)) for field in fields(ColumnNames))


def _may_lack(part: str, name: str) -> bool:
    """An optional column may be absent under its default name; one that was asked for by name may not."""
    return part in OPTIONAL and name == getattr(ColumnNames(), part)


def _places(width: int, places: Mapping[str, int | None]) -> ColumnPlaces:
    needed = {part: place for part, place in places.items() if place is not None and part not in OPTIONAL}
    return ColumnPlaces(width=width, description=places["description"], country=places["country"], **needed)
