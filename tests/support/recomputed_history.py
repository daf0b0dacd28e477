"""What a history must come to, worked out from the file a second time and in another way.

It shares no code with the replay: no money type, no parser of its, and its returns look back over a plain list instead
of keeping a stack. It knows files of one line a row, priced in a currency of two decimals.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation


@dataclass
class Bought:
    customer: str
    stock_code: str
    at: datetime
    row: int
    price_minor: int
    left: int


@dataclass
class Recomputed:
    settled_minor: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    refunded_minor: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    orders: set[tuple[str, str]] = field(default_factory=set)
    rows_settled: set[int] = field(default_factory=set)
    rows_refunded: set[int] = field(default_factory=set)
    rejected: dict[int, str] = field(default_factory=dict)
    unmatched: dict[int, int] = field(default_factory=dict)


def recompute(content: bytes) -> Recomputed:
    result, bought, returns = Recomputed(), [], []
    header, *lines = content.decode().split("\n")
    columns = header.split(",")
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        cells = next(csv.reader([line]))
        reason = why_not(line, cells, columns)
        if reason:
            result.rejected[number] = reason
            continue
        cell = dict(zip(columns, cells, strict=True))
        one = Bought(
            customer=cell["CustomerID"],
            stock_code=cell["StockCode"],
            at=datetime.fromisoformat(cell["InvoiceDate"]),
            row=number,
            price_minor=int(Decimal(cell["UnitPrice"]) * 100),
            left=abs(int(cell["Quantity"])),
        )
        if cell["InvoiceNo"].startswith("C"):
            returns.append(one)
            continue
        bought.append(one)
        result.rows_settled.add(number)
        result.settled_minor[one.customer] += one.left * one.price_minor
        result.orders.add((cell["InvoiceNo"], one.customer))
    returns.sort(key=lambda one: (one.at, one.row))
    for one in returns:
        give_back(one, bought, result)
    return result


def give_back(returned: Bought, bought: list[Bought], result: Recomputed) -> None:
    candidates = [
        one
        for one in bought
        if one.customer == returned.customer
        and one.stock_code == returned.stock_code
        and (one.at, one.row) < (returned.at, returned.row)
        and one.left
    ]
    wanted = returned.left
    for one in sorted(candidates, key=lambda one: (one.at, one.row), reverse=True):
        pieces = min(wanted, one.left)
        one.left -= pieces
        wanted -= pieces
        result.refunded_minor[returned.customer] += pieces * one.price_minor
    if wanted == returned.left:
        result.rejected[returned.row] = "return_without_purchase"
        return
    result.rows_refunded.add(returned.row)
    if wanted:
        result.unmatched[returned.row] = wanted


def why_not(line: str, cells: list[str], columns: list[str]) -> str:
    if line.count('"') % 2 or len(cells) != len(columns):
        return "broken_row"
    cell = dict(zip(columns, cells, strict=True))
    try:
        quantity, price = int(cell["Quantity"]), Decimal(cell["UnitPrice"])
        datetime.fromisoformat(cell["InvoiceDate"])
    except (ValueError, InvalidOperation):
        return "broken_row"
    refusals = {
        "customer_missing": not cell["CustomerID"],
        "price_not_positive": price <= 0,
        "price_below_minor_unit": price < Decimal("0.01"),
        "fractional_minor_unit": price * 100 % 1 != 0,
        "quantity_below_one": quantity < 1 and not cell["InvoiceNo"].startswith("C"),
    }
    return next((reason for reason, applies in refusals.items() if applies), "")
