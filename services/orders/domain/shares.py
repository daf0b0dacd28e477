"""Which part of an order's money each line bears: of what was captured, what went back, and what is left.

Each line has its share of the capture: all of its total, unless only a part of the order was captured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.money import Money
from services.orders.domain.order import Order, OrderLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What some lines cost, what of it their sellers were paid, and what of that went back; fees included."""

    total: Money
    captured: Money
    refunded: Money


def sums_of(order: Order, lines: Sequence[OrderLine]) -> Sums:
    """Sum up some lines of an order; all of them are the order."""
    if len(lines) == len(order.lines):
        return Sums(total=order.total, captured=order.captured, refunded=order.refunded)
    currency, shares = order.total.currency, shares_of_capture(order)
    captured_minor = sum(shares[line.line_number] for line in lines)
    left_minor = sum(left_of(line, shares) for line in lines)
    left_minor = min(left_minor, (order.captured - order.refunded).amount_minor)
    return Sums(
        total=Money(sum(line.total.amount_minor for line in lines), currency),
        captured=Money(captured_minor, currency),
        refunded=Money(captured_minor - left_minor, currency),
    )


def refundable_minor(order: Order) -> dict[int, int]:
    """Tell by line number how much can still go back for the line; nothing before its sellers are paid.

    What the ledger gave back by itself, lines don't know of: no line has more left than the order.
    """
    shares, left_minor = shares_of_capture(order), (order.captured - order.refunded).amount_minor
    return {line.line_number: min(left_of(line, shares), left_minor) for line in order.lines}


def shares_of_capture(order: Order) -> dict[int, int]:
    """Give each line number its part of what was captured, by cumulative floors, so that the parts sum to it."""
    shares: dict[int, int] = {}
    total_so_far = share_so_far = 0
    for line in order.lines:
        total_so_far += line.total.amount_minor
        cumulative = order.captured.amount_minor * total_so_far // order.total.amount_minor
        shares[line.line_number] = cumulative - share_so_far
        share_so_far = cumulative
    return shares


def left_of(line: OrderLine, shares: Mapping[int, int]) -> int:
    """Tell what is left of a line's share; older code wrote down the pieces alone."""
    share_minor = shares[line.line_number]
    for_pieces_minor = share_minor * line.refunded_quantity // line.quantity
    return max(share_minor - max(line.refunded_minor, for_pieces_minor), 0)
