"""The HTTP door for orders: parse, call the use case, show the order as it is now."""

from typing import Annotated, Literal

from litestar import Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from services.orders.domain.actor import Actor
from services.orders.domain.order import CaptureMode
from services.orders.domain.wish import Wish
from services.orders.inbound.commerce import Commerce
from services.orders.inbound.http_bodies import (
    OrderBody,
    PageBody,
    PlaceOrderBody,
    RefundBody,
    cursor_of,
    order_body,
)
from services.orders.inbound.requests import (
    ITEMS_A_PAGE,
    Cursor,
    Limit,
    actor_of,
    order_cursor_of,
    order_id_of,
    state_of,
)
from services.orders.use_cases.cancel_order import CancelOrder, cancel_order
from services.orders.use_cases.confirm_order import ConfirmOrder, confirm_order
from services.orders.use_cases.once import Answer
from services.orders.use_cases.place_order import place_order
from services.orders.use_cases.placing import PlaceOrder
from services.orders.use_cases.refund_order import RefundOrder, refund_order
from services.orders.use_cases.show_orders import show_order, show_orders
from services.runtime.errors import InvalidArgumentError
from services.runtime.http_auth import Caller, require_roles
from services.runtime.idempotency import REPLAYED_HEADER, IdempotencyKey
from services.runtime.jwt import Principal

TAGS = ["orders"]
"""The group in the API's description."""

Side = Annotated[
    Literal["buyer", "seller"], QueryParameter(description="The orders that you bought, or those you sell in.")
]
State = Annotated[str, QueryParameter(name="state", description="Only orders in this state.")]
"""The type of a parameter `wanted_state`: Litestar keeps the name `state` for itself."""


def order_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    """Make the routes."""
    return [*_reading_routes(commerce), *_writing_routes(commerce)]


def _reading_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    @get("/api/v1/orders", operation_id="listOrders", tags=TAGS)
    async def list_orders(
        principal: Caller,
        cursor: Cursor = "",
        limit: Limit = ITEMS_A_PAGE,
        wanted_state: State = "",
        role: Side = "buyer",
    ) -> PageBody[OrderBody]:
        """List your orders, newest first."""
        actor = actor_of(principal)
        part = await show_orders(
            actor=actor,
            as_seller=role == "seller",
            state=state_of(wanted_state),
            before=order_cursor_of(cursor),
            orders_max=limit,
            reads=commerce.reads,
        )
        return PageBody(items=[order_body(order, actor) for order in part.items], next_cursor=cursor_of(part))

    @get("/api/v1/orders/{order_id:str}", operation_id="getOrder", tags=TAGS)
    async def get_order(principal: Caller, order_id: FromPath[str]) -> OrderBody:
        """Show an order to its buyer, to the sellers in it and to operators."""
        actor = actor_of(principal)
        return order_body(await show_order(order_id_of(order_id), actor=actor, reads=commerce.reads), actor)

    return [list_orders, get_order]


def _writing_routes(commerce: Commerce) -> list[BaseRouteHandler]:
    store, ledger, clock, terms = commerce.store, commerce.ledger, commerce.clock, commerce.terms

    @post("/api/v1/orders", operation_id="placeOrder", tags=TAGS, guards=[require_roles("buyer", "merchant")])
    async def place(
        principal: Caller, idempotency_key: IdempotencyKey, data: JSONBody[PlaceOrderBody]
    ) -> Response[OrderBody]:
        """Order products. 422 insufficient_funds, out_of_stock, total_changed, unknown_sku; 503: repeat its key."""
        wanted = _place_order(principal, idempotency_key, data)
        answer = await place_order(wanted, placing=commerce.placing, store=store, ledger=ledger, clock=clock)
        return _answered(answer, actor_of(principal), status_code=201)

    @post("/api/v1/orders/{order_id:str}/confirm", operation_id="confirmOrder", tags=TAGS, status_code=200)
    async def confirm(
        principal: Caller, idempotency_key: IdempotencyKey, order_id: FromPath[str]
    ) -> Response[OrderBody]:
        """Confirm an order with manual capture, as its buyer or a seller of it."""
        actor = actor_of(principal)
        wanted = ConfirmOrder(actor=actor, order_id=order_id_of(order_id), idempotency_key=idempotency_key)
        answer = await confirm_order(wanted, store=store, ledger=ledger, clock=clock, terms=terms)
        return _answered(answer, actor, status_code=200)

    @post("/api/v1/orders/{order_id:str}/cancel", operation_id="cancelOrder", tags=TAGS, status_code=200)
    async def cancel(
        principal: Caller, idempotency_key: IdempotencyKey, order_id: FromPath[str]
    ) -> Response[OrderBody]:
        """Cancel your order; once the sellers are paid, all of it is refunded."""
        actor = actor_of(principal)
        wanted = CancelOrder(actor=actor, order_id=order_id_of(order_id), idempotency_key=idempotency_key)
        answer = await cancel_order(wanted, store=store, ledger=ledger, clock=clock, terms=terms)
        return _answered(answer, actor, status_code=200)

    @post("/api/v1/orders/{order_id:str}/refunds", operation_id="refundOrder", tags=TAGS)
    async def refund(
        principal: Caller, idempotency_key: IdempotencyKey, order_id: FromPath[str], data: JSONBody[RefundBody]
    ) -> Response[OrderBody]:
        """Refund lines, an amount, or all that is left, as the seller of these lines or an operator."""
        wanted = _refund_order(principal, idempotency_key, order_id, data)
        answer = await refund_order(wanted, store=store, ledger=ledger, clock=clock, terms=terms)
        return _answered(answer, wanted.actor, status_code=201)

    return [place, confirm, cancel, refund]


def _place_order(principal: Principal, idempotency_key: str, body: PlaceOrderBody) -> PlaceOrder:
    return PlaceOrder(
        buyer_id=actor_of(principal).user_id,
        buyer_token=principal.token,
        idempotency_key=idempotency_key,
        wishes=tuple(Wish(sku=line.sku, quantity=line.quantity) for line in body.lines),
        capture=CaptureMode(body.capture),
        expected_total=None if body.expected_total is None else body.expected_total.to_money(),
    )


def _refund_order(principal: Principal, idempotency_key: str, order_id: str, body: RefundBody) -> RefundOrder:
    lines = body.lines
    if lines is not None and not lines:
        raise InvalidArgumentError("Name lines, or leave them out to refund all that is left.", reason="invalid_lines")
    if any((line.quantity is None) == (line.amount is None) for line in lines or ()):
        raise InvalidArgumentError("A line has a quantity or an amount.", reason="invalid_lines")
    if lines is not None and body.amount is not None:
        raise InvalidArgumentError("Name lines or an amount, not both.", reason="invalid_lines")
    return RefundOrder(
        actor=actor_of(principal),
        order_id=order_id_of(order_id),
        idempotency_key=idempotency_key,
        lines=None if lines is None else tuple((n.line_number, n.quantity) for n in lines if n.quantity is not None),
        line_amounts=tuple((n.line_number, n.amount.to_money()) for n in lines or () if n.amount is not None),
        amount=None if body.amount is None else body.amount.to_money(),
    )


def _answered(answer: Answer, actor: Actor, *, status_code: int) -> Response[OrderBody]:
    headers = {REPLAYED_HEADER: "true"} if answer.replayed else {}
    if status_code == 201:  # noqa: PLR2004 - Created
        headers["Location"] = f"/api/v1/orders/{answer.order.order_id}"
    return Response(order_body(answer.order, actor), status_code=status_code, headers=headers)
