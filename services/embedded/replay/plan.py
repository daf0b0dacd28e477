"""A file into all that must happen: pure, and the same each time the same bytes are read the same way."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.embedded.replay.columns import ColumnNames, find_columns
from services.embedded.replay.keys import run_id_of
from services.embedded.replay.orders import PlannedLine, PlannedOrder, make_orders
from services.embedded.replay.reading import decode, read_records
from services.embedded.replay.rejects import Reason, Reject
from services.embedded.replay.returns import PlannedRefund, ReturnedRow, make_refunds, match_returns
from services.embedded.replay.rows import Reading, Row, parse_row
from services.money import exponent_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FileForm:
    """How a file is to be read; all of it is part of the run's name."""

    columns: ColumnNames = field(default_factory=ColumnNames)
    currency: str = "GBP"
    delimiter: str = ","
    encoding: str | None = None
    """None: the first of reading.ENCODINGS that fits."""
    date_format: str | None = None
    return_prefix: str = "C"
    customers_missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerPlan:
    """What one customer did, in the order of time."""

    customer: str
    steps: tuple[PlannedOrder | PlannedRefund, ...]

    @property
    def orders(self) -> list[PlannedOrder]:
        """List the orders among the steps."""
        return [step for step in self.steps if isinstance(step, PlannedOrder)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Each row of a file in exactly one of: an order's line, a matched return, the rejects."""

    run_id: str
    currency: str
    rows_read: int
    orders: tuple[PlannedOrder, ...]
    returned: tuple[ReturnedRow, ...]
    """Returns that were matched, wholly or in part."""
    refunds: tuple[PlannedRefund, ...]
    rejects: tuple[Reject, ...]
    """In the file's order."""

    @property
    def products(self) -> list[PlannedLine]:
        """List each product once, with the title that the file gives it first."""
        first: dict[str, PlannedLine] = {}
        for order in self.orders:
            for line in order.lines:
                first.setdefault(line.sku, line)
        return list(first.values())


def make_plan(content: bytes, form: FileForm, *, run_id: str | None = None) -> Plan:
    """Read a file and decide what becomes of each row.

    Args:
        content: The file.
        form: How it is read.
        run_id: The run's name; after content and form by default. Another name makes everything happen once more.

    Raises:
        MissingColumnError: The header lacks a column.
        UnreadableFileError: It isn't text, or has no header.
        InvalidArgumentError: `unknown_asset`: no such currency.
    """
    exponent_of(form.currency)
    header, records = read_records(decode(content, form.encoding), form.delimiter)
    reading = Reading(
        places=find_columns(header, form.columns),
        currency=form.currency,
        return_prefix=form.return_prefix,
        customers_missing=form.customers_missing,
        date_format=form.date_format,
    )
    parsed = [parse_row(record, reading) for record in records]
    return _planned(run_id or run_id_of(content, *_meaning(form)), form.currency, parsed)


def by_customer(plan: Plan) -> list[CustomerPlan]:
    """Split a plan into what can happen at once; the customers with the most to do come first."""
    steps: dict[str, list[tuple[tuple[datetime, int], PlannedOrder | PlannedRefund]]] = {}
    for order in plan.orders:
        steps.setdefault(order.key.customer, []).append((min(row.moment for row in order.rows), order))
    for refund in plan.refunds:
        # A return's last row: by then every purchase that any of its rows takes from has happened.
        moment = max(returned.row.moment for returned in refund.returns)
        steps.setdefault(refund.key.customer, []).append((moment, refund))
    customers = [
        CustomerPlan(customer=customer, steps=tuple(step for _, step in sorted(timed, key=lambda step: step[0])))
        for customer, timed in steps.items()
    ]
    return sorted(customers, key=lambda one: len(one.steps), reverse=True)


def _planned(run_id: str, currency: str, parsed: list[Row | Reject]) -> Plan:
    rows = [one for one in parsed if isinstance(one, Row)]
    rejects = [one for one in parsed if isinstance(one, Reject)]
    orders = make_orders(row for row in rows if not row.is_return)
    matched = match_returns(orders, (row for row in rows if row.is_return))
    returned = [one for one in matched if one.takes]
    rejects += (_unmatched(one.row) for one in matched if not one.takes)
    return Plan(
        run_id=run_id,
        currency=currency,
        rows_read=len(parsed),
        orders=tuple(orders),
        returned=tuple(returned),
        refunds=tuple(make_refunds(returned)),
        rejects=tuple(sorted(rejects, key=lambda reject: reject.row)),
    )


def _unmatched(row: Row) -> Reject:
    message = f"customer {row.customer} has no {row.stock_code} to give back at that time"
    return Reject(row=row.row, reason=Reason.RETURN_WITHOUT_PURCHASE, message=message)


def _meaning(form: FileForm) -> Iterable[str]:
    columns = form.columns
    yield from (columns.invoice, columns.stock_code, columns.quantity, columns.date, columns.price)
    yield from (columns.customer, columns.country)
    yield from (form.currency, form.delimiter, form.encoding or "", form.date_format or "", form.return_prefix)
    yield from sorted(form.customers_missing)
