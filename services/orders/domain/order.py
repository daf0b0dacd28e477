"""An order: who buys what from whom, and what became of it.

A verb returns a new order. Each move goes through `_become`, which checks the one table, raises the version by one and
notes the change, so that whoever stores the order stores its history in the same breath.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final
from uuid import UUID

from services.money import Money
from services.orders.domain.order_state import OrderState, check_move
from services.runtime.errors import InvalidArgumentError, RefusedError

LINES_MAX: Final = 1_000
"""Lines of one order: what one transaction can lock and write within milliseconds."""

QUANTITY_MAX: Final = 1_000_000
"""Pieces of one line: beyond it somebody mistyped."""

SELLERS_MAX: Final = 100
"""Sellers of one order: the ledger pays at most so many in one capture."""

HOLD_LIFETIMES: Final = 4
"""How many times longer than its order an open hold lives: no clock difference makes the hold end first."""


class TotalChangedError(RefusedError):
    """The order would cost something else than its buyer was shown."""

    default_reason = "total_changed"


class CaptureMode(Enum):
    """When the money moves."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """A product and how much of it, at the price of the moment it was ordered."""

    line_number: int
    sku: str
    title: str
    quantity: int
    unit_price: Money
    seller_id: UUID
    stock_tracked: bool
    fee_basis_points: int | None = None
    """What the platform keeps of this line's sale; None: as the order says, for lines of older code."""
    refunded_quantity: int = 0
    refunded_minor: int = 0
    """What went back for the line, with pieces or without; older code counted the pieces only."""

    @property
    def total(self) -> Money:
        """What the line costs."""
        return self.unit_price * self.quantity

    @property
    def quantity_left(self) -> int:
        """How many pieces were not refunded."""
        return self.quantity - self.refunded_quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an order came to nothing, or why the last try to change it did."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """One line of an order's history; the first has no state before it."""

    version: int
    from_state: OrderState | None
    state: OrderState
    changed_at: datetime
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What one seller gets of a capture, fee included."""

    seller_id: UUID
    gross_minor: int
    fee_basis_points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as it is now; `changes` are those since it was read, not stored yet."""

    order_id: UUID
    version: int
    state: OrderState
    buyer_id: UUID
    capture: CaptureMode
    total: Money
    captured: Money
    refunded: Money
    fee_basis_points: int
    lines: tuple[OrderLine, ...]
    rejection: Rejection | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    changes: tuple[StateChange, ...] = ()

    @property
    def stored_version(self) -> int:
        """The version that the stored order still has; 0 for a new one."""
        return self.version - len(self.changes)

    @property
    def sellers(self) -> frozenset[UUID]:
        """Everybody who sells a line."""
        return frozenset(line.seller_id for line in self.lines)

    @property
    def hold_expires_at(self) -> datetime:
        """When a hold that nobody committed ends by itself: long after the order gave up.

        It follows from stored values only, so that a repeated reserve says the same whatever the settings are by then.
        """
        return self.created_at + HOLD_LIFETIMES * (self.expires_at - self.created_at)

    def unheld_until(self, lifetime: timedelta) -> datetime:
        """Tell how long the order waits for its buyer while the ledger holds nothing for it."""
        return min(self.created_at + lifetime, self.expires_at)

    def check_total(self, expected: Money) -> None:
        """Let an order pass that costs what its buyer was shown, asset included.

        Raises:
            TotalChangedError: It costs something else, more or less.
        """
        if self.total != expected:
            raise TotalChangedError(
                f"The order costs {self.total}, not {expected}.",
                details={
                    "expected_minor": str(expected.amount_minor),
                    "expected_currency": expected.currency,
                    "actual_minor": str(self.total.amount_minor),
                    "actual_currency": self.total.currency,
                },
            )

    def line(self, line_number: int) -> OrderLine:
        """Find a line by its number.

        Raises:
            InvalidArgumentError: `unknown_line`.
        """
        if not 1 <= line_number <= len(self.lines):
            raise InvalidArgumentError(f"The order has no line {line_number}.", reason="unknown_line")
        return self.lines[line_number - 1]

    def allocations(self) -> tuple[Allocation, ...]:
        """Sum the lines by seller: who gets how much of the total, in the order of their ids."""
        gross_minor: defaultdict[UUID, int] = defaultdict(int)
        fees = {line.seller_id: line.fee_basis_points for line in self.lines}
        for line in self.lines:
            gross_minor[line.seller_id] += line.total.amount_minor
        return tuple(
            Allocation(
                seller_id=seller_id,
                gross_minor=gross_minor[seller_id],
                fee_basis_points=self.fee_basis_points if fee is None else fee,
            )
            for seller_id, fee in sorted(fees.items())
        )

    def stock_set_aside(self) -> dict[str, int]:
        """List how many pieces of which counted product the order still keeps from others."""
        return {line.sku: line.quantity_left for line in self.lines if line.stock_tracked and line.quantity_left}

    def reserve(self, now: datetime) -> "Order":
        """The ledger holds the money."""
        return self._become(OrderState.RESERVED, now)

    def confirm(self, now: datetime) -> "Order":
        """The hold is permanent: settle it."""
        return self._become(OrderState.CONFIRMED, now)

    def reject(self, rejection: Rejection, now: datetime) -> "Order":
        """The ledger refused to hold the money."""
        return self._become(OrderState.REJECTED, now, note=rejection.reason, rejection=rejection)

    def begin_cancelling(self, now: datetime) -> "Order":
        """Write down that the order is to be undone, before the ledger is asked."""
        return self._become(OrderState.CANCELLING, now)

    def begin_expiring(self, now: datetime) -> "Order":
        """Write down that the order ran out of time, before the ledger is asked."""
        return self._become(OrderState.EXPIRING, now)

    def release(self, now: datetime) -> "Order":
        """The hold is gone without any capture: end the intent."""
        ends = {OrderState.CANCELLING: OrderState.CANCELLED, OrderState.EXPIRING: OrderState.EXPIRED}
        return self._become(ends.get(self.state, OrderState.CANCELLED), now)

    def settle(self, captured: Money, now: datetime) -> "Order":
        """The sellers are paid."""
        return self._become(OrderState.SETTLED, now, captured=captured)

    def fail_settlement(self, rejection: Rejection, now: datetime) -> "Order":
        """The ledger refused for good to pay the sellers."""
        return self._become(OrderState.SETTLEMENT_FAILED, now, note=rejection.reason, rejection=rejection)

    def begin_refunding(self, now: datetime, *, captured: Money | None = None) -> "Order":
        """Write down that money is to go back; an undo that came after the capture hands in what was captured."""
        return self._become(OrderState.REFUNDING, now, captured=captured or self.captured)

    def finish_refunding(
        self, quantities: Mapping[int, int], amounts_minor: Mapping[int, int], now: datetime
    ) -> "Order":
        """The buyer has money back: so many pieces of each line, and so much for it."""
        lines = tuple(
            replace(
                line,
                refunded_quantity=line.refunded_quantity + quantities.get(line.line_number, 0),
                refunded_minor=line.refunded_minor + amounts_minor.get(line.line_number, 0),
            )
            for line in self.lines
        )
        refunded = self.refunded + Money(sum(amounts_minor.values()), self.total.currency)
        all_back = refunded == self.captured
        state = OrderState.REFUNDED if all_back else OrderState.PARTIALLY_REFUNDED
        return self._become(state, now, lines=lines, refunded=refunded)

    def follow_refunds(self, refunded: Money, by_line_minor: Mapping[int, int], note: str, now: datetime) -> "Order":
        """The ledger gave money back without having been asked from here: so much by now, and so much for each line.

        It says nothing about goods, so the lines keep them.
        """
        lines = tuple(replace(line, refunded_minor=by_line_minor[line.line_number]) for line in self.lines)
        state = OrderState.REFUNDED if refunded == self.captured else OrderState.PARTIALLY_REFUNDED
        refunding = self.begin_refunding(now)
        return refunding._become(state, now, note=note, lines=lines, refunded=refunded)  # noqa: SLF001 - an order too

    def give_up_refunding(self, reason: str, now: datetime) -> "Order":
        """The ledger refused the refund: back to where the order was."""
        state = OrderState.PARTIALLY_REFUNDED if self.refunded.amount_minor else OrderState.SETTLED
        return self._become(state, now, note=reason)

    def due_at(self, patience: timedelta) -> datetime | None:
        """Tell when somebody should look whether the order is stuck; None when nothing is awaited.

        `patience` is how long the request that began a step gets to finish it.
        """
        match self.state:
            case OrderState.PENDING:
                return min(self.updated_at + patience, self.expires_at)
            case OrderState.RESERVED if self.capture is CaptureMode.MANUAL:
                return self.expires_at
            case OrderState.SETTLEMENT_FAILED:
                return self.updated_at
            case (
                OrderState.RESERVED
                | OrderState.CONFIRMED
                | OrderState.CANCELLING
                | OrderState.EXPIRING
                | OrderState.REFUNDING
            ):
                return self.updated_at + patience
            case _:
                return None

    def _become(self, state: OrderState, now: datetime, *, note: str = "", **changed: Any) -> "Order":
        check_move(self.state, state)
        version = self.version + 1
        change = StateChange(version=version, from_state=self.state, state=state, changed_at=now, note=note)
        return replace(self, version=version, state=state, updated_at=now, changes=(*self.changes, change), **changed)


def begin_order(
    *,
    order_id: UUID,
    buyer_id: UUID,
    capture: CaptureMode,
    lines: Iterable[OrderLine],
    fee_basis_points: int,
    now: datetime,
    expires_at: datetime,
) -> Order:
    """Begin a PENDING order.

    Raises:
        InvalidArgumentError: `currency_mismatch` for lines of two currencies, `invalid_amount` for a total that is
            too large, `too_many_sellers`.
    """
    all_lines = tuple(lines)
    total = all_lines[0].total
    for line in all_lines[1:]:
        total += line.total
    order = Order(
        order_id=order_id,
        version=1,
        state=OrderState.PENDING,
        buyer_id=buyer_id,
        capture=capture,
        total=total,
        captured=Money(0, total.currency),
        refunded=Money(0, total.currency),
        fee_basis_points=fee_basis_points,
        lines=all_lines,
        rejection=None,
        created_at=now,
        updated_at=now,
        expires_at=expires_at,
        changes=(StateChange(version=1, from_state=None, state=OrderState.PENDING, changed_at=now, note=""),),
    )
    if len(order.sellers) > SELLERS_MAX:
        raise InvalidArgumentError(f"An order has lines of at most {SELLERS_MAX} sellers.", reason="too_many_sellers")
    return order
