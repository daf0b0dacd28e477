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
from services.orders.domain.shares import left_of, shares_of_capture
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
    shares, amounts_minor, missing_minor = shares_of_capture(order), {}, amount.amount_minor
    for line in order.lines:
        if seller_id in {None, line.seller_id} and (taken := min(left_of(line, shares), missing_minor)):
            amounts_minor[line.line_number] = taken
            missing_minor -= taken
    if missing_minor:
        raise ExceedsCapturedError(
            "Less is left to refund.", details={"left_minor": str(amount.amount_minor - missing_minor)}
        )
    return amounts_minor


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
    shares = shares_of_capture(order)
    by_pieces = [_refund_line(order.line(number), quantity, shares) for number, quantity in quantities.items()]
    by_amount = [_refund_amount(order.line(number), minor, shares) for number, minor in amounts_minor.items()]
    lines = tuple(sorted([*by_pieces, *by_amount], key=lambda line: line.line_number))
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


def _refund_amount(line: OrderLine, amount_minor: int, shares: Mapping[int, int]) -> RefundLine:
    if amount_minor < 1:
        raise InvalidArgumentError("A refund is at least one minor unit.", reason="invalid_amount")
    if amount_minor > (left_minor := left_of(line, shares)):
        raise ExceedsCapturedError(
            f"Line {line.line_number} has {left_minor} left to refund.",
            details={"line_number": str(line.line_number), "left_minor": str(left_minor)},
        )
    return RefundLine(line_number=line.line_number, quantity=0, amount_minor=amount_minor, seller_id=line.seller_id)


def _refund_line(line: OrderLine, quantity: int, shares: Mapping[int, int]) -> RefundLine:
    if quantity < 1:
        raise InvalidArgumentError("A quantity is at least 1.", reason="invalid_quantity")
    if quantity > line.quantity_left:
        raise ExceedsCapturedError(
            f"Line {line.line_number} has {line.quantity_left} pieces left to refund.",
            details={"line_number": str(line.line_number), "quantity_left": str(line.quantity_left)},
        )
    share_minor, after = shares[line.line_number], line.refunded_quantity + quantity
    for_pieces_minor = share_minor * after // line.quantity - share_minor * line.refunded_quantity // line.quantity
    amount_minor = min(for_pieces_minor, left_of(line, shares))
    return RefundLine(
        line_number=line.line_number, quantity=quantity, amount_minor=amount_minor, seller_id=line.seller_id
    )
