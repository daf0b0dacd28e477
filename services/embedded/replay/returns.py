"""Returns into refunds of earlier purchases: same customer, same stock code, newest purchase first.

Prices don't matter for the match: what is given back is the money that was paid. A return takes only from rows that
happened before it, and never more pieces than are left of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.embedded.replay.orders import OrderKey, PlannedLine, PlannedOrder
from services.embedded.replay.rows import Row


@dataclass(slots=True, kw_only=True)
class _Purchase:
    """A purchased row and what is left of it."""

    order: PlannedOrder
    line: PlannedLine
    row: Row
    quantity_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """What one return takes back from one line of one order."""

    order: OrderKey
    line_number: int
    quantity: int
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedRow:
    """A return and what it is matched with; without any take it is a return without a purchase."""

    row: Row
    takes: tuple[Take, ...]

    @property
    def quantity_refunded(self) -> int:
        """Count the pieces that were matched."""
        return sum(take.quantity for take in self.takes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundKey:
    """What makes a refund the same refund when the file is read again."""

    invoice: str
    customer: str
    order: OrderKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRefund:
    """What one return invoice gives back of one order, in one call."""

    key: RefundKey
    returns: tuple[ReturnedRow, ...]

    @property
    def order(self) -> OrderKey:
        """The order that it gives money back of."""
        return self.key.order

    @property
    def takes(self) -> list[Take]:
        """List what its rows take from this order."""
        return [take for returned in self.returns for take in returned.takes if take.order == self.order]

    @property
    def quantities(self) -> dict[int, int]:
        """Sum the pieces by the order's line number."""
        sums: dict[int, int] = {}
        for take in self.takes:
            sums[take.line_number] = sums.get(take.line_number, 0) + take.quantity
        return sums


def match_returns(orders: Iterable[PlannedOrder], returns: Iterable[Row]) -> list[ReturnedRow]:
    """Match each return; the answer is in the order of time."""
    purchases = {
        row.row: _Purchase(order=order, line=line, row=row, quantity_left=row.quantity)
        for order in orders
        for line in order.lines
        for row in line.rows
    }
    rows = [purchase.row for purchase in purchases.values()] + list(returns)
    return _matched(sorted(rows, key=lambda row: row.moment), purchases)


def make_refunds(returned: Iterable[ReturnedRow]) -> list[PlannedRefund]:
    """Gather matched returns into refunds: one for each return invoice and order that it takes from."""
    gathered: dict[RefundKey, list[ReturnedRow]] = {}
    for one in returned:
        for order in dict.fromkeys(take.order for take in one.takes):
            key = RefundKey(invoice=one.row.invoice, customer=one.row.customer, order=order)
            gathered.setdefault(key, []).append(one)
    return [PlannedRefund(key=key, returns=tuple(rows)) for key, rows in gathered.items()]


def _matched(rows_in_time: Iterable[Row], purchases: Mapping[int, _Purchase]) -> list[ReturnedRow]:
    stacks: dict[tuple[str, str], list[_Purchase]] = {}
    matched = []
    for row in rows_in_time:
        stack = stacks.setdefault((row.customer, row.stock_code), [])
        if row.is_return:
            matched.append(ReturnedRow(row=row, takes=tuple(_taken(stack, row.quantity))))
        else:
            stack.append(purchases[row.row])
    return matched


def _taken(stack: list[_Purchase], quantity: int) -> Iterable[Take]:
    """Take pieces off the newest purchases until the quantity or the stack is at its end."""
    while quantity and stack:
        newest = stack[-1]
        taken = min(quantity, newest.quantity_left)
        newest.quantity_left -= taken
        quantity -= taken
        if not newest.quantity_left:
            stack.pop()
        yield Take(
            order=newest.order.key,
            line_number=newest.line.line_number,
            quantity=taken,
            amount_minor=taken * newest.line.price.amount_minor,
        )
