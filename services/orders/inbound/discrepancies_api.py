"""The HTTP door for operators who look at what the comparison with the ledger found, and how far it is."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from msgspec import Struct

from services.money_json import MoneyBody
from services.orders.domain.discrepancy import DiscrepancyKind, HoldSide, NotedDiscrepancy, OrderSide
from services.orders.inbound.commerce import Commerce
from services.orders.inbound.requests import ITEMS_A_PAGE, Cursor, Limit
from services.orders.recovery_ports import RoundProgress
from services.runtime.errors import InvalidArgumentError
from services.runtime.http_auth import require_roles

TAGS = ["orders"]
"""The group in the API's description."""

Healed = Annotated[bool, QueryParameter(description="Those that are set right, instead of those that are open.")]

Kind = Annotated[str, QueryParameter(description="Only this kind.")]


class OrderSideBody(Struct, frozen=True, kw_only=True):
    """What the order said when it was compared."""

    state: str
    captured: MoneyBody
    refunded: MoneyBody


class LedgerSideBody(Struct, frozen=True, kw_only=True):
    """What the ledger said of the order's hold."""

    state: str
    captured: MoneyBody
    refunded: MoneyBody
    remaining: MoneyBody


class DiscrepancyBody(Struct, frozen=True, kw_only=True):
    """An order that disagrees with the ledger.

    `heals` tells whether the platform may set it right by itself. `order` is null where older code found it; `ledger`
    also where the ledger has no hold, or wasn't asked.
    """

    order_id: UUID
    kind: str
    heals: bool
    message: str
    order: OrderSideBody | None
    ledger: LedgerSideBody | None
    first_seen_at: datetime
    last_seen_at: datetime
    seen: int
    healed_at: datetime | None


class ComparisonRoundBody(Struct, frozen=True, kw_only=True):
    """How far a scope is: `recent` or `all` orders; `compared_at` is when its last whole round began."""

    scope: str
    began_at: datetime
    compared_at: datetime | None


class DiscrepancyPageBody(Struct, frozen=True, kw_only=True):
    """A part of the list, and what an empty one is worth; `last_healed_at` is null where none is remembered."""

    items: list[DiscrepancyBody]
    next_cursor: str | None
    rounds: list[ComparisonRoundBody]
    last_healed_at: datetime | None


def discrepancy_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    """Make the route."""

    @get("/api/v1/discrepancies", operation_id="listDiscrepancies", tags=TAGS, guards=[require_roles("operator")])
    async def list_discrepancies(
        *, kind: Kind = "", healed: Healed = False, cursor: Cursor = "", limit: Limit = ITEMS_A_PAGE
    ) -> DiscrepancyPageBody:
        """List orders that disagree with the ledger, and how far the comparison is, for operators."""
        found = await commerce.recovery.discrepancies(
            healed=healed, kind=_kind_of(kind), after=_cursor_of(cursor), rows_max=limit
        )
        progress = await commerce.recovery.progress()
        return DiscrepancyPageBody(
            items=[_discrepancy_body(one) for one in found],
            next_cursor=f"{found[-1].order_id}:{found[-1].kind.value}" if len(found) == limit else None,
            rounds=[_round_body(one) for one in progress.rounds],
            last_healed_at=progress.last_healed_at,
        )

    return [list_discrepancies]


def _discrepancy_body(one: NotedDiscrepancy) -> DiscrepancyBody:
    return DiscrepancyBody(
        order_id=one.order_id,
        kind=one.kind.value,
        heals=one.kind.heals,
        message=one.message,
        order=None if one.order is None else _order_side_body(one.order),
        ledger=None if one.hold is None else _ledger_side_body(one.hold),
        first_seen_at=one.first_seen_at,
        last_seen_at=one.last_seen_at,
        seen=one.seen,
        healed_at=one.healed_at,
    )


def _order_side_body(side: OrderSide) -> OrderSideBody:
    return OrderSideBody(
        state=side.state.value,
        captured=MoneyBody(side.captured_minor, side.currency),
        refunded=MoneyBody(side.refunded_minor, side.currency),
    )


def _ledger_side_body(side: HoldSide) -> LedgerSideBody:
    return LedgerSideBody(
        state=side.state.value,
        captured=MoneyBody(side.captured_minor, side.currency),
        refunded=MoneyBody(side.refunded_minor, side.currency),
        remaining=MoneyBody(side.remaining_minor, side.currency),
    )


def _round_body(progress: RoundProgress) -> ComparisonRoundBody:
    return ComparisonRoundBody(scope=progress.scope, began_at=progress.began_at, compared_at=progress.compared_at)


def _kind_of(word: str) -> DiscrepancyKind | None:
    if not word:
        return None
    try:
        return DiscrepancyKind(word)
    except ValueError as error:
        words = ", ".join(kind.value for kind in DiscrepancyKind)
        raise InvalidArgumentError(f"A kind is one of {words}.", reason="unknown_kind") from error


def _cursor_of(cursor: str) -> tuple[UUID, str] | None:
    if not cursor:
        return None
    order_id, _, kind = cursor.partition(":")
    try:
        return UUID(order_id), kind
    except ValueError as error:
        raise InvalidArgumentError("The cursor isn't one that a page gave.", reason="cursor_malformed") from error
