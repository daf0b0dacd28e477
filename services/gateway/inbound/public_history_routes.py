"""The public routes that tell what became of orders, as orders answers them."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from services.gateway.inbound.public_bodies import Instant, LineNumber, Money, OrderState, Rejection
from services.gateway.inbound.public_parameters import CURSOR, DISCREPANCY_KIND, HEALED, PAGE
from services.gateway.inbound.public_route import PublicRoute


class OrderMove(Struct):
    """Who moved an order, when and why, and which of the ledger's records is behind it."""

    version: int
    from_state: OrderState | None
    state: OrderState
    at: Instant
    actor: str
    reason: str
    journal_sequence: int | None


class OrderHistory(Struct):
    """The moves of an order, the first one first. An actor is `user:` and an id, `ledger` or `reconciler`.

    To a seller, other sellers of the order are `seller`, and moves that end a refund have neither reason nor record.
    """

    order_id: UUID
    items: list[OrderMove]
    next_cursor: str | None
    """Where those after the first thousand are; null ends them."""


class RefundLine(Struct):
    """What goes back for a line: with so many pieces, or without any."""

    line_number: LineNumber
    quantity: int
    amount: Money


class Refund(Struct):
    """A refund: PENDING until the ledger has answered, then DONE, or REFUSED for the reason in `rejection`.

    To a seller it is null where others were to give money back, too: it may be theirs. Its message has sums
    for operators and the only seller who was to pay.
    """

    refund_id: UUID
    state: Literal["PENDING", "DONE", "REFUSED"]
    amount: Money
    lines: list[RefundLine]
    requested_by: UUID
    rejection: Rejection | None
    created_at: Instant
    updated_at: Instant


class RefundPage(Struct):
    """Newest first."""

    items: list[Refund]
    next_cursor: str | None


class OrderSide(Struct):
    """What the order said when it was compared."""

    state: OrderState
    captured: Money
    refunded: Money


class LedgerSide(Struct):
    """What the ledger said of the order's hold."""

    state: str
    captured: Money
    refunded: Money
    remaining: Money


class Discrepancy(Struct):
    """An order that disagrees with the ledger; `healed_at` is null while it does."""

    order_id: UUID
    kind: str
    heals: bool
    """Whether the platform may set it right by itself."""
    message: str
    order: OrderSide | None
    """null where older code found it."""
    ledger: LedgerSide | None
    """null also where the ledger has no hold, or wasn't asked."""
    first_seen_at: Instant
    last_seen_at: Instant
    seen: int
    healed_at: Instant | None


class ComparisonRound(Struct):
    """How far the comparison with the ledger is."""

    scope: Literal["recent", "all"]
    """Orders of the last minutes, or all there ever were."""
    began_at: Instant
    compared_at: Instant | None
    """When the last whole round began."""


class DiscrepancyPage(Struct):
    """In the order of the orders' ids."""

    items: list[Discrepancy]
    next_cursor: str | None
    rounds: list[ComparisonRound]
    last_healed_at: Instant | None
    """When the last discrepancy was over; null where none is remembered."""


HISTORY_ROUTES = (
    PublicRoute(
        method="get",
        path="/api/v1/orders/{order_id}/history",
        operation_id="getOrderHistory",
        tag="orders",
        summary="Who moved an order, when and why: for its buyer, its sellers and operators.",
        query=(CURSOR,),
        answer=OrderHistory,
        problems=("400 cursor_malformed", "404 order_not_found"),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/orders/{order_id}/refunds",
        operation_id="listRefunds",
        tag="orders",
        summary="What was given back of an order, newest first; sellers see what they gave back themselves.",
        query=PAGE,
        answer=RefundPage,
        problems=("400 cursor_malformed", "404 order_not_found"),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/discrepancies",
        operation_id="listDiscrepancies",
        tag="orders",
        summary="Orders that disagree with the ledger, and how far the comparison is, for operators.",
        query=(*PAGE, DISCREPANCY_KIND, HEALED),
        answer=DiscrepancyPage,
        problems=("403 role_required", "400 cursor_malformed", "400 unknown_kind"),
    ),
)
"""How an order moved, what was given back of it, and whether the ledger says the same."""

HISTORY_BODIES = (OrderHistory, RefundPage, DiscrepancyPage)
"""All that these routes answer."""
