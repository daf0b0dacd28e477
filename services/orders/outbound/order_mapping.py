"""Rows of orders, lines, products and refunds turned into values."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.money import Money
from services.orders.domain.order import CaptureMode, Order, OrderLine, Rejection
from services.orders.domain.order_state import OrderState
from services.orders.domain.product import Product
from services.orders.domain.refund import Refund, RefundLine, RefundState
from services.runtime.clock import from_micros

Record = Mapping[str, Any]
"""A row by its column names."""


def order_of(row: Record, line_rows: Iterable[Record]) -> Order:
    """Build an order; the lines come in the order of their numbers."""
    currency = row["currency"]
    return Order(
        order_id=row["order_id"],
        version=row["version"],
        state=OrderState(row["state"]),
        buyer_id=row["buyer_id"],
        capture=CaptureMode(row["capture"]),
        total=Money(row["total_minor"], currency),
        captured=Money(row["captured_minor"], currency),
        refunded=Money(row["refunded_minor"], currency),
        fee_basis_points=row["fee_basis_points"],
        lines=tuple(_line_of(line_row, currency) for line_row in line_rows),
        rejection=rejection_of(row),
        created_at=from_micros(row["created_at"]),
        updated_at=from_micros(row["updated_at"]),
        expires_at=from_micros(row["expires_at"]),
    )


def _line_of(row: Record, currency: str) -> OrderLine:
    return OrderLine(
        line_number=row["line_number"],
        sku=row["sku"].decode(),
        title=row["title"],
        quantity=row["quantity"],
        unit_price=Money(row["unit_price_minor"], currency),
        seller_id=row["seller_id"],
        stock_tracked=bool(row["stock_tracked"]),
        fee_basis_points=row["fee_basis_points"],
        refunded_quantity=row["refunded_quantity"],
        refunded_minor=row["refunded_minor"],
    )


def product_of(row: Record) -> Product:
    """Build a product."""
    return Product(
        sku=row["sku"].decode(),
        title=row["title"],
        price=Money(row["price_minor"], row["currency"]),
        seller_id=row["seller_id"],
        stock=row["stock"],
        fee_basis_points=row.get("fee_basis_points"),
        created_at=from_micros(row["created_at"]),
        updated_at=from_micros(row["updated_at"]),
    )


def refund_of(row: Record, line_rows: Iterable[Record]) -> Refund:
    """Build a refund; the lines come in the order of their numbers."""
    return Refund(
        refund_id=row["refund_id"],
        order_id=row["order_id"],
        state=RefundState(row["state"]),
        capture_number=row["capture_number"],
        currency=row["currency"],
        lines=tuple(
            RefundLine(
                line_number=line_row["line_number"],
                quantity=line_row["quantity"],
                amount_minor=line_row["amount_minor"],
                seller_id=line_row["seller_id"],
            )
            for line_row in line_rows
        ),
        requested_by=row["requested_by"],
        rejection=rejection_of(row),
        created_at=from_micros(row["created_at"]),
        updated_at=from_micros(row["updated_at"]),
    )


def rejection_of(row: Record) -> Rejection | None:
    """Read why it came to nothing, if it did."""
    if not row["rejection_reason"]:
        return None
    return Rejection(reason=row["rejection_reason"], message=row["rejection_message"])


MESSAGE_CHARACTERS_MAX = 512
"""The width of the columns for messages: sentences for people, which may be cut."""

REASON_CHARACTERS_MAX = 64
"""The width of the columns for reasons."""


def rejection_columns(rejection: Rejection | None) -> tuple[str, str]:
    """Turn a rejection into the two columns' values."""
    if rejection is None:
        return "", ""
    return rejection.reason[:REASON_CHARACTERS_MAX], rejection.message[:MESSAGE_CHARACTERS_MAX]
