"""Which part of an order's money each line bears: of what was captured, what went back, and what is left.

Each line has its share of the capture: all of its total, unless only a part of the order was captured.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.money import Money
from services.orders.domain.hold import Hold
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

    No line has more left than the order: older code wrote what the ledger gave back by itself to the order alone.
    """
    shares, left_minor = shares_of_capture(order), (order.captured - order.refunded).amount_minor
    return {line.line_number: min(left_of(line, shares), left_minor) for line in order.lines}


def refunded_by_line(order: Order, hold: Hold) -> dict[int, int] | None:
    """Tell by line number what the ledger gave back, in all, where it gave back more than the order knows of.

    What was missed is of the sellers that the hold names. Without their names it is told only where it can be nobody
    else's: all of it went back, or a single seller has something left. Of a seller's lines the first ones give it, each
    as much as is left of it. None where it can't be told, or where a seller gave back less than the lines know of.
    """
    shares = shares_of_capture(order)
    left = {line.line_number: left_of(line, shares) for line in order.lines}
    missed = _missed_by_seller(order, hold, left)
    if missed is None or min(missed.values()) < 0:
        return None
    by_line: dict[int, int] = {}
    for line in order.lines:
        number, missed_minor = line.line_number, missed.get(line.seller_id, 0)
        taken_minor = min(left[number], missed_minor)
        by_line[number] = shares[number] - left[number] + taken_minor
        missed[line.seller_id] = missed_minor - taken_minor
    return by_line


def _missed_by_seller(order: Order, hold: Hold, left: Mapping[int, int]) -> dict[UUID, int] | None:
    shares, known, rest = shares_of_capture(order), Counter[UUID](), Counter[UUID]()
    for line in order.lines:
        known[line.seller_id] += shares[line.line_number] - left[line.line_number]
        rest[line.seller_id] += left[line.line_number]
    if hold.refunded_minor == hold.captured_minor:
        return dict(rest)
    if hold.refunded_by is not None:
        return {seller_id: hold.refunded_by.get(seller_id, 0) - known[seller_id] for seller_id in order.sellers}
    able = [seller_id for seller_id, left_minor in rest.items() if left_minor]
    return {able[0]: hold.refunded_minor - known.total()} if len(able) == 1 else None


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
