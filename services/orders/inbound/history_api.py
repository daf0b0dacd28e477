"""The HTTP door for what happened: an order's history, and the orders that disagree with the ledger."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from services.orders.domain.discrepancy import DiscrepancyKind, NotedDiscrepancy
from services.orders.inbound.commerce import Commerce
from services.orders.inbound.http_bodies import PageBody
from services.orders.inbound.requests import ITEMS_A_PAGE, Cursor, Limit, actor_of, order_id_of
from services.orders.recovery_ports import HistoryLine
from services.orders.use_cases.show_recovery import show_history
from services.runtime.errors import InvalidArgumentError
from services.runtime.http_auth import Caller, require_roles

TAGS = ["orders"]
"""The group in the API's description."""

Healed = Annotated[bool, QueryParameter(description="Those that are set right, instead of those that are open.")]

Kind = Annotated[str, QueryParameter(description="Only this kind.")]


class HistoryLineBody(Struct, frozen=True, kw_only=True):
    """One move of an order."""

    version: int
    from_state: str | None
    state: str
    at: datetime
    actor: str
    reason: str
    journal_sequence: int | None


class HistoryBody(Struct, frozen=True, kw_only=True):
    """All moves of an order, the first one first."""

    order_id: UUID
    items: list[HistoryLineBody]


class DiscrepancyBody(Struct, frozen=True, kw_only=True):
    """An order that disagrees with the ledger."""

    order_id: UUID
    kind: str
    message: str
    first_seen_at: datetime
    last_seen_at: datetime
    seen: int
    healed_at: datetime | None


def history_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    """Make the routes."""

    @get("/api/v1/orders/{order_id:str}/history", operation_id="getOrderHistory", tags=TAGS)
    async def get_history(principal: Caller, order_id: FromPath[str]) -> HistoryBody:
        """Tell who moved an order, when, why, and by which record of the ledger."""
        lines = await show_history(
            order_id_of(order_id), actor=actor_of(principal), reads=commerce.reads, recovery=commerce.recovery
        )
        return HistoryBody(order_id=order_id_of(order_id), items=[_line_body(line) for line in lines])

    @get("/api/v1/discrepancies", operation_id="listDiscrepancies", tags=TAGS, guards=[require_roles("operator")])
    async def list_discrepancies(
        *, kind: Kind = "", healed: Healed = False, cursor: Cursor = "", limit: Limit = ITEMS_A_PAGE
    ) -> PageBody[DiscrepancyBody]:
        """List orders that disagree with the ledger, for operators."""
        found = await commerce.recovery.discrepancies(
            healed=healed, kind=_kind_of(kind), after=_cursor_of(cursor), rows_max=limit
        )
        next_cursor = f"{found[-1].order_id}:{found[-1].kind.value}" if len(found) == limit else None
        return PageBody(items=[_discrepancy_body(one) for one in found], next_cursor=next_cursor)

    return [get_history, list_discrepancies]


def _line_body(line: HistoryLine) -> HistoryLineBody:
    return HistoryLineBody(
        version=line.version,
        from_state=line.from_state or None,
        state=line.state,
        at=line.changed_at,
        actor=line.moved_by,
        reason=line.reason,
        journal_sequence=line.journal_sequence,
    )


def _discrepancy_body(one: NotedDiscrepancy) -> DiscrepancyBody:
    return DiscrepancyBody(
        order_id=one.order_id,
        kind=one.kind.value,
        message=one.message,
        first_seen_at=one.first_seen_at,
        last_seen_at=one.last_seen_at,
        seen=one.seen,
        healed_at=one.healed_at,
    )


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
