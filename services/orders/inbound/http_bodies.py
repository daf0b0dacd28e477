"""The JSON that the HTTP doors speak."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from services.money_json import MoneyBody, PositiveMoneyBody
from services.orders.domain.actor import Actor
from services.orders.domain.order import Order, OrderLine, Rejection
from services.orders.domain.product import Product
from services.orders.domain.shares import refundable_minor, sums_of
from services.orders.list_part import Part

Item = TypeVar("Item")


class WishBody(Struct, frozen=True, forbid_unknown_fields=True):
    """So many pieces of a product."""

    sku: str
    quantity: int


class PlaceOrderBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to order, when the money moves, and what it may cost: exactly so much, or whatever it does."""

    lines: list[WishBody]
    capture: Literal["automatic", "manual"] = "automatic"
    expected_total: PositiveMoneyBody | None = None


class RefundLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """So many pieces of a line, or an amount for it without any piece."""

    line_number: int
    quantity: int | None = None
    amount: MoneyBody | None = None


class RefundBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to refund: lines, or an amount that is spread over them; without either, all that is left."""

    lines: list[RefundLineBody] | None = None
    amount: MoneyBody | None = None


class NewProductBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to sell; `stock` null where nobody counts."""

    sku: str
    title: str
    price: MoneyBody
    stock: int | None


class ProductChangesBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a product, and of which stock; what is left out stays, or may be anything."""

    title: str | UnsetType = UNSET
    price: MoneyBody | UnsetType = UNSET
    stock: int | UnsetType | None = UNSET
    expected_stock: int | UnsetType | None = UNSET


class ProductBody(Struct, frozen=True, kw_only=True):
    """A product."""

    sku: str
    title: str
    price: MoneyBody
    seller_id: UUID
    stock: int | None
    created_at: datetime
    updated_at: datetime


class OrderLineBody(Struct, frozen=True, kw_only=True):
    """A line of an order."""

    line_number: int
    sku: str
    title: str
    quantity: int
    unit_price: MoneyBody
    total: MoneyBody
    seller_id: UUID
    refunded_quantity: int
    refundable: MoneyBody


class RejectionBody(Struct, frozen=True, kw_only=True):
    """Why an order came to nothing."""

    reason: str
    message: str


class OrderBody(Struct, frozen=True, kw_only=True):
    """An order as it is now; sellers who aren't its buyer see their own lines and the sums of these."""

    order_id: UUID
    state: str
    buyer_id: UUID
    capture: str
    total: MoneyBody
    captured: MoneyBody
    refunded: MoneyBody
    lines: list[OrderLineBody]
    rejection: RejectionBody | None
    created_at: datetime
    updated_at: datetime


class PageBody(Struct, Generic[Item], frozen=True, kw_only=True):
    """A part of a list; `next_cursor` leads to the next one, null ends it. One that has few items may have a next."""

    items: list[Item]
    next_cursor: str | None


def cursor_of(part: Part[Any]) -> str | None:
    """Tell where the part after this one begins."""
    return None if part.next_before is None else str(part.next_before)


def order_body(order: Order, actor: Actor) -> OrderBody:
    """Show an order to somebody who may see it."""
    refundable, lines = refundable_minor(order), actor.lines_seen(order)
    sums = sums_of(order, lines)
    return OrderBody(
        order_id=order.order_id,
        state=order.state.value,
        buyer_id=order.buyer_id,
        capture=order.capture.value,
        total=MoneyBody.of(sums.total),
        captured=MoneyBody.of(sums.captured),
        refunded=MoneyBody.of(sums.refunded),
        lines=[_line_body(line, refundable[line.line_number]) for line in lines],
        rejection=_rejection_seen(order, actor),
        created_at=order.created_at,
        updated_at=order.updated_at,
    )


def product_body(product: Product) -> ProductBody:
    """Show a product."""
    return ProductBody(
        sku=product.sku,
        title=product.title,
        price=MoneyBody.of(product.price),
        seller_id=product.seller_id,
        stock=product.stock,
        created_at=product.created_at,
        updated_at=product.updated_at,
    )


def rejection_body(rejection: Rejection | None) -> RejectionBody | None:
    """Show why something came to nothing, if it did."""
    return None if rejection is None else RejectionBody(reason=rejection.reason, message=rejection.message)


def _rejection_seen(order: Order, actor: Actor) -> RejectionBody | None:
    """Show why an order came to nothing; the ledger's words have sums in them that are its buyer's."""
    rejection = rejection_body(order.rejection)
    if rejection is None or actor.is_operator or actor.user_id == order.buyer_id:
        return rejection
    return RejectionBody(reason=rejection.reason, message="The ledger refused.")


def _line_body(line: OrderLine, left_minor: int) -> OrderLineBody:
    return OrderLineBody(
        line_number=line.line_number,
        sku=line.sku,
        title=line.title,
        quantity=line.quantity,
        unit_price=MoneyBody.of(line.unit_price),
        total=MoneyBody.of(line.total),
        seller_id=line.seller_id,
        refunded_quantity=line.refunded_quantity,
        refundable=MoneyBody(left_minor, line.unit_price.currency),
    )
