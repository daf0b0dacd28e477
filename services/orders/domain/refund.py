"""A refund: which pieces of which lines come back, and how much money goes back for them; or money alone.

Amounts come from what was captured. Each line has its share of the capture (all of its total, unless only a part of the
order was captured), and any split of a line's refunds gives back the same as one refund of the whole: the n-th piece
brings floor(share * n / quantity) - floor(share * (n - 1) / quantity). Money may go back without pieces, up to what is
left of the line's share; pieces that come later bring what is left then.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from uuid import UUID

from services.money import Money
from services.orders.domain.order import Order, OrderLine, Rejection
from services.orders.domain.shares import refundable_minor, shares_of_capture
from services.runtime.errors import InvalidArgumentError, RefusedError


class RefundState(Enum):
    """Where a refund stands."""

    PENDING = "PENDING"
    DONE = "DONE"
    REFUSED = "REFUSED"


class ExceedsCapturedError(RefusedError):
    """More was asked back than is left of what was paid."""

    default_reason = "exceeds_captured"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundLine:
    """So many pieces of a line, maybe none, and the money."""

    line_number: int
    quantity: int
    amount_minor: int
    seller_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A refund as it is now; `rejection` says why the ledger refused it."""

    refund_id: UUID
    order_id: UUID
    state: RefundState
    capture_number: int
    currency: str
    lines: tuple[RefundLine, ...]
    requested_by: UUID
    rejection: Rejection | None
    created_at: datetime
    updated_at: datetime

    @property
    def amount(self) -> Money:
        """What goes back to the buyer."""
        return Money(sum(line.amount_minor for line in self.lines), self.currency)

    @property
    def quantities(self) -> dict[int, int]:
        """How many pieces of each line number."""
        return {line.line_number: line.quantity for line in self.lines}

    @property
    def amounts_minor(self) -> dict[int, int]:
        """How much money for each line number."""
        return {line.line_number: line.amount_minor for line in self.lines}

    def legs(self) -> tuple[tuple[UUID, int], ...]:
        """Sum by seller: who gives back how much, in the order of their ids; sellers who give nothing are left out."""
        gross_minor: defaultdict[UUID, int] = defaultdict(int)
        for line in self.lines:
            gross_minor[line.seller_id] += line.amount_minor
        return tuple((seller_id, gross_minor[seller_id]) for seller_id in sorted(gross_minor) if gross_minor[seller_id])

    def finish(self, now: datetime) -> "Refund":
        """The ledger gave the money back."""
        return replace(self, state=RefundState.DONE, updated_at=now)

    def refuse(self, rejection: Rejection, now: datetime) -> "Refund":
        """The ledger refused."""
        return replace(self, state=RefundState.REFUSED, rejection=rejection, updated_at=now)


def everything_left(order: Order, *, seller_id: UUID | None = None) -> dict[int, int]:
    """List the pieces not refunded yet by line number: all, or one seller's."""
    return {
        line.line_number: line.quantity_left
        for line in order.lines
        if line.quantity_left and seller_id in {None, line.seller_id}
    }


def spread(order: Order, amount: Money, *, seller_id: UUID | None = None) -> dict[int, int]:
    """Spread an amount over the lines, or one seller's: each gives what is left of it, the first line first.

    Raises:
        InvalidArgumentError: `currency_mismatch`, `invalid_amount`.
        ExceedsCapturedError: More than is left.
    """
    if amount.currency != order.total.currency:
        raise InvalidArgumentError(f"The order is in {order.total.currency}.", reason="currency_mismatch")
    if amount.amount_minor < 1:
        raise InvalidArgumentError("A refund is at least one minor unit.", reason="invalid_amount")
    left, own = refundable_minor(order), [line for line in order.lines if seller_id in {None, line.seller_id}]
    room_minor = min(amount.amount_minor, _left_of_order(order))
    spread_minor = _first_ones_first({line.line_number: left[line.line_number] for line in own}, room_minor)
    if (found_minor := sum(spread_minor.values())) < amount.amount_minor:
        raise ExceedsCapturedError("Less is left to refund.", details={"left_minor": str(found_minor)})
    return {number: minor for number, minor in spread_minor.items() if minor}


def plan_refund(
    order: Order,
    quantities: Mapping[int, int],
    *,
    amounts_minor: Mapping[int, int] = MappingProxyType({}),
    refund_id: UUID,
    requested_by: UUID,
    now: datetime,
) -> Refund:
    """Work out what so many pieces of lines bring back, beside what goes back for other lines without pieces.

    Raises:
        InvalidArgumentError: `invalid_quantity`, `invalid_amount`, `unknown_line`, `duplicate_line`.
        ExceedsCapturedError: More than is left, or nothing is left.
    """
    if not quantities and not amounts_minor:
        raise ExceedsCapturedError("Nothing is left to refund.")
    if twice := quantities.keys() & amounts_minor.keys():
        raise InvalidArgumentError(f"Line {min(twice)} is named twice.", reason="duplicate_line")
    lines = _refund_lines(order, quantities, amounts_minor)
    refund = Refund(
        refund_id=refund_id,
        order_id=order.order_id,
        state=RefundState.PENDING,
        capture_number=1,
        currency=order.total.currency,
        lines=lines,
        requested_by=requested_by,
        rejection=None,
        created_at=now,
        updated_at=now,
    )
    if not refund.legs():
        raise ExceedsCapturedError("Nothing was captured for these pieces.")
    return refund


def quantities_of(asked: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Turn (line number, quantity) pairs into a map.

    Raises:
        InvalidArgumentError: `duplicate_line`.
    """
    quantities: dict[int, int] = {}
    for line_number, quantity in asked:
        if line_number in quantities:
            raise InvalidArgumentError(f"Line {line_number} is named twice.", reason="duplicate_line")
        quantities[line_number] = quantity
    return quantities


def amounts_of(asked: Iterable[tuple[int, Money]], order: Order) -> dict[int, int]:
    """Turn (line number, amount) pairs into a map of minor units of the order's currency.

    Raises:
        InvalidArgumentError: `duplicate_line`, `currency_mismatch`.
    """
    amounts_minor: dict[int, int] = {}
    for line_number, amount in asked:
        if line_number in amounts_minor:
            raise InvalidArgumentError(f"Line {line_number} is named twice.", reason="duplicate_line")
        if amount.currency != order.total.currency:
            raise InvalidArgumentError(f"The order is in {order.total.currency}.", reason="currency_mismatch")
        amounts_minor[line_number] = amount.amount_minor
    return amounts_minor


def _refund_lines(
    order: Order, quantities: Mapping[int, int], amounts_minor: Mapping[int, int]
) -> tuple[RefundLine, ...]:
    """Work out each line; all of them bring no more than the order has left, which older code's lines don't tell."""
    left, shares = refundable_minor(order), shares_of_capture(order)
    wanted = {number: _worth_of(order.line(number), quantity, shares) for number, quantity in quantities.items()}
    for number, amount_minor in amounts_minor.items():
        _check_amount(order.line(number), amount_minor, left)
    room_minor = _left_of_order(order) - sum(amounts_minor.values())
    if room_minor < 0:
        raise ExceedsCapturedError("Less is left to refund.", details={"left_minor": str(_left_of_order(order))})
    brought = _first_ones_first({number: min(wanted[number], left[number]) for number in sorted(wanted)}, room_minor)
    return tuple(
        RefundLine(
            line_number=number,
            quantity=quantities.get(number, 0),
            amount_minor=amount_minor,
            seller_id=order.line(number).seller_id,
        )
        for number, amount_minor in sorted({**brought, **amounts_minor}.items())
    )


def _check_amount(line: OrderLine, amount_minor: int, left: Mapping[int, int]) -> None:
    if amount_minor < 1:
        raise InvalidArgumentError("A refund is at least one minor unit.", reason="invalid_amount")
    if amount_minor > (left_minor := left[line.line_number]):
        raise ExceedsCapturedError(
            f"Line {line.line_number} has {left_minor} left to refund.",
            details={"line_number": str(line.line_number), "left_minor": str(left_minor)},
        )


def _worth_of(line: OrderLine, quantity: int, shares: Mapping[int, int]) -> int:
    """Tell what so many pieces bring, as long as no money went back without pieces."""
    if quantity < 1:
        raise InvalidArgumentError("A quantity is at least 1.", reason="invalid_quantity")
    if quantity > line.quantity_left:
        raise ExceedsCapturedError(
            f"Line {line.line_number} has {line.quantity_left} pieces left to refund.",
            details={"line_number": str(line.line_number), "quantity_left": str(line.quantity_left)},
        )
    share_minor, after = shares[line.line_number], line.refunded_quantity + quantity
    return share_minor * after // line.quantity - share_minor * line.refunded_quantity // line.quantity


def _first_ones_first(wanted: Mapping[int, int], room_minor: int) -> dict[int, int]:
    """Give each line number what it wants, in the order of the mapping, until there is nothing left."""
    given: dict[int, int] = {}
    for number, minor in wanted.items():
        given[number] = min(minor, room_minor)
        room_minor -= given[number]
    return given


def _left_of_order(order: Order) -> int:
    return (order.captured - order.refunded).amount_minor
