"""The HTTP door for what happened to an order."""

from datetime import datetime
from uuid import UUID

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from services.orders.inbound.commerce import Commerce
from services.orders.inbound.requests import Cursor, actor_of, order_id_of, version_cursor_of
from services.orders.recovery_ports import HISTORY_A_PAGE_MAX, HistoryLine
from services.orders.use_cases.show_recovery import show_history
from services.runtime.http_auth import Caller

TAGS = ["orders"]
"""The group in the API's description."""


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
    """The moves of an order, the first one first; `next_cursor` leads to those after a thousand, null ends them."""

    order_id: UUID
    items: list[HistoryLineBody]
    next_cursor: str | None


def history_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    """Make the route."""

    @get("/api/v1/orders/{order_id:str}/history", operation_id="getOrderHistory", tags=TAGS)
    async def get_history(principal: Caller, order_id: FromPath[str], cursor: Cursor = "") -> HistoryBody:
        """Tell who moved an order, when, why, and by which record; other sellers are `seller` to a seller."""
        lines = await show_history(
            order_id_of(order_id),
            actor=actor_of(principal),
            reads=commerce.reads,
            recovery=commerce.recovery,
            after_version=version_cursor_of(cursor),
        )
        next_cursor = str(lines[-1].version) if len(lines) == HISTORY_A_PAGE_MAX else None
        return HistoryBody(
            order_id=order_id_of(order_id), items=[_line_body(line) for line in lines], next_cursor=next_cursor
        )

    return [get_history]


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
