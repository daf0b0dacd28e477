"""The HTTP door for what was given back of an order; `orders_api` takes what is to be given back."""

from datetime import datetime
from uuid import UUID

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from services.money_json import MoneyBody
from services.orders.domain.refund import Refund, RefundLine
from services.orders.inbound.commerce import Commerce
from services.orders.inbound.http_bodies import PageBody, RejectionBody, cursor_of, rejection_body
from services.orders.inbound.requests import ITEMS_A_PAGE, Cursor, Limit, actor_of, order_cursor_of, order_id_of
from services.orders.use_cases.show_refunds import show_refunds
from services.runtime.http_auth import Caller

TAGS = ["orders"]
"""The group in the API's description."""


class MadeRefundLineBody(Struct, frozen=True, kw_only=True):
    """What goes back for a line: with so many pieces, or without any."""

    line_number: int
    quantity: int
    amount: MoneyBody


class MadeRefundBody(Struct, frozen=True, kw_only=True):
    """A refund: PENDING until the ledger has answered, then DONE, or REFUSED for the reason in `rejection`.

    To a seller it is null where others were to give money back, too: it may be theirs. Its message has sums
    for operators and the only seller who was to pay.
    """

    refund_id: UUID
    state: str
    amount: MoneyBody
    lines: list[MadeRefundLineBody]
    requested_by: UUID
    rejection: RejectionBody | None
    created_at: datetime
    updated_at: datetime


def refund_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    """Make the route."""

    @get("/api/v1/orders/{order_id:str}/refunds", operation_id="listRefunds", tags=TAGS)
    async def list_refunds(
        principal: Caller, order_id: FromPath[str], cursor: Cursor = "", limit: Limit = ITEMS_A_PAGE
    ) -> PageBody[MadeRefundBody]:
        """List what was given back of an order, newest first; sellers see what they gave back themselves."""
        part = await show_refunds(
            order_id_of(order_id),
            actor=actor_of(principal),
            before=order_cursor_of(cursor),
            refunds_max=limit,
            reads=commerce.reads,
        )
        return PageBody(items=[_refund_body(refund) for refund in part.items], next_cursor=cursor_of(part))

    return [list_refunds]


def _refund_body(refund: Refund) -> MadeRefundBody:
    return MadeRefundBody(
        refund_id=refund.refund_id,
        state=refund.state.value,
        amount=MoneyBody.of(refund.amount),
        lines=[_line_body(line, refund.currency) for line in refund.lines],
        requested_by=refund.requested_by,
        rejection=rejection_body(refund.rejection),
        created_at=refund.created_at,
        updated_at=refund.updated_at,
    )


def _line_body(line: RefundLine, currency: str) -> MadeRefundLineBody:
    amount = MoneyBody(line.amount_minor, currency)
    return MadeRefundLineBody(line_number=line.line_number, quantity=line.quantity, amount=amount)
