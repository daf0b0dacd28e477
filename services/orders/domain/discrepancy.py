"""Where an order and its hold disagree.

One order is compared with one hold, read after the order was. What the ledger did in between looks like a discrepancy,
so whoever heals one locks the order first and looks whether it still has the version that was compared: an order moves
before the ledger is asked, and so a hold is never ahead of an order that has not moved.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Self
from uuid import UUID

from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order_state import OrderState

OVERDUE_AFTER: Final = timedelta(minutes=5)
"""How long a step may take before somebody is told: many looks of the reconciler, and any restart."""


class DiscrepancyKind(Enum):
    """What is wrong; `heals` tells whether the platform may set it right by itself."""

    sentence: str
    heals: bool

    def __new__(cls, word: str, sentence: str = "", heals: bool = False) -> Self:  # noqa: FBT001, FBT002 - an enum's members are tuples
        """Take the word as the value and keep the rest beside it."""
        member = object.__new__(cls)
        member._value_ = word
        member.sentence = sentence
        member.heals = heals
        return member

    CAPTURE_MISSED = ("capture_missed", "The sellers are paid, and the order has not heard of it.", True)
    CAPTURE_OVERDUE = ("capture_overdue", "The order is confirmed, and the ledger has not captured its hold.", True)
    REFUND_MISSED = ("refund_missed", "The ledger gave back more than the order knows of.", True)
    MONEY_HELD = ("money_held", "The order has ended, and money is still held for it.", True)
    HOLD_MISSING = ("hold_missing", "The order has been paid for, and the ledger has no hold of it.")
    HOLD_FOREIGN = ("hold_foreign", "The hold is of another wallet or currency.")
    CAPTURED_UNSOLD = ("captured_unsold", "The order came to nothing, and the sellers are paid.")
    CAPTURE_DIFFERS = ("capture_differs", "The ledger captured another amount than the order knows of.")
    REFUND_MISSING = ("refund_missing", "The order knows of refunds that the ledger has not.")
    ORDER_OVERDUE = ("order_overdue", "The order has been in the middle of something for too long.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSums:
    """An order as it is compared: its state and sums, in minor units."""

    order_id: UUID
    version: int
    state: OrderState
    buyer_id: UUID
    currency: str
    captured_minor: int
    refunded_minor: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime

    def is_overdue(self, now: datetime) -> bool:
        """Whether the order is in the middle of something for longer than anything takes."""
        if self.state in _TIMED:
            return now >= self.expires_at + OVERDUE_AFTER
        return self.state in _UNDER_WAY and now >= self.updated_at + OVERDUE_AFTER

    def needs_hold(self) -> bool:
        """Whether there is anything in the ledger to compare it with."""
        return self.state not in _TIMED and not self.state.is_intent


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSide:
    """What the order said when it was compared, in minor units."""

    state: OrderState
    currency: str
    captured_minor: int
    refunded_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSide:
    """What the ledger said, in minor units of a currency that may be another one, and unknown here."""

    state: HoldState
    currency: str
    captured_minor: int
    refunded_minor: int
    remaining_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """An order and its hold disagree; `order_version` is the order's when it was compared.

    `hold` is None where the ledger has none, or wasn't asked.
    """

    order_id: UUID
    order_version: int
    kind: DiscrepancyKind
    message: str
    order: OrderSide
    hold: HoldSide | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedDiscrepancy:
    """A discrepancy as it is remembered; `order` is None where older code wrote it, and then so is `hold`."""

    order_id: UUID
    kind: DiscrepancyKind
    message: str
    order: OrderSide | None
    hold: HoldSide | None
    first_seen_at: datetime
    last_seen_at: datetime
    seen: int
    healed_at: datetime | None


_TIMED: Final = frozenset({OrderState.PENDING, OrderState.RESERVED})
"""They wait for somebody until they expire."""

_UNDER_WAY: Final = frozenset({OrderState.CONFIRMED, OrderState.CANCELLING, OrderState.EXPIRING, OrderState.REFUNDING})
"""They end by themselves."""

_UNSOLD: Final = frozenset(
    {OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.SETTLEMENT_FAILED}
)
"""Over, and nobody was paid."""


def discrepancy_of(order: OrderSums, hold: Hold | None, now: datetime) -> Discrepancy | None:
    """Compare an order with its hold, which was read later; the first thing that is wrong is told."""
    if hold is not None and hold.state is HoldState.TOMBSTONE:
        hold = None
    kind = _kind_of(order, hold, now)
    if kind is None:
        return None
    return Discrepancy(
        order_id=order.order_id,
        order_version=order.version,
        kind=kind,
        message=_message(kind, order, hold),
        order=_order_side(order),
        hold=_hold_side(hold) if hold is not None and order.needs_hold() else None,
    )


def _kind_of(order: OrderSums, hold: Hold | None, now: datetime) -> DiscrepancyKind | None:
    if not order.needs_hold():
        return DiscrepancyKind.ORDER_OVERDUE if order.is_overdue(now) else None
    if hold is None:
        return None if order.state in _UNSOLD else DiscrepancyKind.HOLD_MISSING
    if (hold.wallet_id, hold.currency) != (order.buyer_id, order.currency):
        return DiscrepancyKind.HOLD_FOREIGN
    if order.state in _UNSOLD:
        return _kind_of_unsold(hold)
    return _kind_of_confirmed(order, hold, now) if order.state is OrderState.CONFIRMED else _kind_of_sold(order, hold)


def _kind_of_confirmed(order: OrderSums, hold: Hold, now: datetime) -> DiscrepancyKind | None:
    if hold.is_settled:
        return DiscrepancyKind.CAPTURE_MISSED
    return DiscrepancyKind.CAPTURE_OVERDUE if order.is_overdue(now) else None


def _kind_of_unsold(hold: Hold) -> DiscrepancyKind | None:
    if hold.remaining_minor:
        return DiscrepancyKind.MONEY_HELD
    return DiscrepancyKind.CAPTURED_UNSOLD if hold.captured_minor > hold.refunded_minor else None


def _kind_of_sold(order: OrderSums, hold: Hold) -> DiscrepancyKind | None:
    if order.captured_minor != hold.captured_minor:
        return DiscrepancyKind.CAPTURE_DIFFERS
    if order.refunded_minor > hold.refunded_minor:
        return DiscrepancyKind.REFUND_MISSING
    if order.refunded_minor < hold.refunded_minor:
        return DiscrepancyKind.REFUND_MISSED
    return DiscrepancyKind.MONEY_HELD if hold.remaining_minor else None


def _order_side(order: OrderSums) -> OrderSide:
    return OrderSide(
        state=order.state,
        currency=order.currency,
        captured_minor=order.captured_minor,
        refunded_minor=order.refunded_minor,
    )


def _hold_side(hold: Hold) -> HoldSide:
    return HoldSide(
        state=hold.state,
        currency=hold.currency,
        captured_minor=hold.captured_minor,
        refunded_minor=hold.refunded_minor,
        remaining_minor=hold.remaining_minor,
    )


def _message(kind: DiscrepancyKind, order: OrderSums, hold: Hold | None) -> str:
    """Say it with the sums of both."""
    here = f"{order.state.value}, captured {order.captured_minor}, refunded {order.refunded_minor}"
    there = (
        "no hold"
        if hold is None
        else f"{hold.state.value}, captured {hold.captured_minor}, refunded {hold.refunded_minor}, "
        f"remaining {hold.remaining_minor}"
    )
    return f"{kind.sentence} Order: {here}. Ledger: {there if order.needs_hold() else 'not asked'}."
