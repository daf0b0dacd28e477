"""Purchases into orders with numbered lines.

An invoice is an order of its customer; should one invoice name several customers, each has an order. Rows of one
product at one price become one line. What one order can't take (too many lines, a line or a total too large) goes
into a next part of the invoice, an order of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.embedded.replay.keys import sku_of
from services.embedded.replay.rows import QUANTITY_MAX, Row
from services.money import AMOUNT_MINOR_MAX, Money

LINES_MAX = 1_000
"""In one order; the public API's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderKey:
    """What makes an order of the file the same order when the file is read again."""

    invoice: str
    customer: str
    part: int
    """From 1; nearly always the only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLine:
    """One product at one price."""

    line_number: int
    """From 1, in the order in which the lines are sent."""
    sku: str
    stock_code: str
    title: str
    price: Money
    rows: tuple[Row, ...]

    @property
    def quantity(self) -> int:
        """Count the pieces of all its rows."""
        return sum(row.quantity for row in self.rows)

    @property
    def total_minor(self) -> int:
        """Price them."""
        return self.quantity * self.price.amount_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOrder:
    """An order to place."""

    key: OrderKey
    lines: tuple[PlannedLine, ...]

    @property
    def rows(self) -> list[Row]:
        """List the rows that it is made of, in the file's order."""
        return sorted((row for line in self.lines for row in line.rows), key=lambda row: row.row)

    @property
    def total(self) -> Money:
        """What it costs."""
        return Money(sum(line.total_minor for line in self.lines), self.lines[0].price.currency)


def make_orders(purchases: Iterable[Row]) -> list[PlannedOrder]:
    """Gather purchases, which come in the file's order, into orders."""
    invoices: dict[tuple[str, str], list[Row]] = {}
    for row in purchases:
        invoices.setdefault((row.invoice, row.customer), []).append(row)
    return [
        PlannedOrder(key=OrderKey(invoice=invoice, customer=customer, part=part), lines=_lines_of(rows))
        for (invoice, customer), whole in invoices.items()
        for part, rows in enumerate(_parts_of(whole), start=1)
    ]


def _parts_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Cut an invoice where the next row doesn't fit into the order any more."""
    parts: list[list[Row]] = [[]]
    quantities: dict[str, int] = {}
    total_minor = 0
    for row in rows:
        sku, row_minor = _sku(row), row.quantity * row.price.amount_minor
        lines = len(quantities) + (sku not in quantities)
        quantity = quantities.get(sku, 0) + row.quantity
        if lines > LINES_MAX or quantity > QUANTITY_MAX or total_minor + row_minor > AMOUNT_MINOR_MAX:
            parts.append([])
            quantities, total_minor, quantity = {}, 0, row.quantity
        parts[-1].append(row)
        quantities[sku] = quantity
        total_minor += row_minor
    return parts


def _lines_of(rows: Iterable[Row]) -> tuple[PlannedLine, ...]:
    by_sku: dict[str, list[Row]] = {}
    for row in rows:
        by_sku.setdefault(_sku(row), []).append(row)
    return tuple(
        PlannedLine(
            line_number=number,
            sku=sku,
            stock_code=merged[0].stock_code,
            title=merged[0].title,
            price=merged[0].price,
            rows=tuple(merged),
        )
        for number, (sku, merged) in enumerate(by_sku.items(), start=1)
    )


def _sku(row: Row) -> str:
    return sku_of(row.stock_code, row.price)
