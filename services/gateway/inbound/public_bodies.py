"""The JSON of the public routes that orders and the ledger answer: for the API's description only.

The services have the last word; a test holds these against their own.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from services.gateway.inbound.deposits_api import DepositBody

Sku = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._@:+-]{1,64}$")]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
LineNumber = Annotated[int, Meta(ge=1)]
Stock = Annotated[int, Meta(ge=0)]


class Money(Struct):
    """An amount in minor units of a currency: 1050 EUR is 10.50 euros."""

    amount_minor: int
    """At most 2^53 - 1 in size."""
    currency: str
    """An ISO 4217 code."""


class Balance(Struct):
    """A wallet's balance in one currency."""

    wallet_id: UUID
    currency: str
    posted: Money
    """Settled."""
    pending_outgoing: Money
    """Held for orders: still posted, no longer available."""
    available: Money
    """What may be spent now."""
    overdraft_limit: Money
    account_sequence: int


class StatementLine(Struct):
    """A posting."""

    journal_sequence: int
    account_sequence: int
    recorded_at: datetime
    kind: str
    """For example deposit, capture, refund."""
    amount: Money
    """Positive when the wallet received."""
    balance: Money
    """After it."""
    order_id: UUID | None


class StatementPage(Struct):
    """Oldest first."""

    items: list[StatementLine]
    next_cursor: str | None


class Deposited(Struct):
    """The proof of a deposit."""

    wallet_id: UUID
    amount: Money
    journal_sequence: int
    recorded_at: datetime
    replayed: bool
    """True when an earlier call with this key did it."""


class Product(Struct):
    """Something for sale."""

    sku: Sku
    title: str
    price: Money
    seller_id: UUID
    stock: int | None
    """None when it isn't counted."""
    created_at: datetime
    updated_at: datetime


class ProductPage(Struct):
    """Products by their codes."""

    items: list[Product]
    next_cursor: str | None


class NewProduct(Struct):
    """A product to sell."""

    sku: Sku
    title: str
    price: Money
    stock: Stock | None
    """None when it isn't counted."""


class ProductChange(Struct, omit_defaults=True):
    """What to change; the rest stays."""

    title: str | None = None
    price: Money | None = None
    stock: Stock | None = None


class WantedLine(Struct):
    """How many of what."""

    sku: Sku
    quantity: Quantity


class PlaceOrder(Struct):
    """An order, all of one currency."""

    lines: Annotated[list[WantedLine], Meta(min_length=1, max_length=1000)]
    capture: Literal["automatic", "manual"] = "automatic"


class OrderLine(Struct):
    """A line of an order."""

    line_number: LineNumber
    sku: Sku
    title: str
    quantity: Quantity
    unit_price: Money
    total: Money
    seller_id: UUID
    refunded_quantity: int


class Rejection(Struct):
    """Why an order was rejected."""

    reason: str
    message: str


OrderState = Literal[
    "PENDING",
    "RESERVED",
    "CONFIRMED",
    "SETTLED",
    "PARTIALLY_REFUNDED",
    "REFUNDED",
    "CANCELLING",
    "EXPIRING",
    "REFUNDING",
    "REJECTED",
    "CANCELLED",
    "EXPIRED",
    "SETTLEMENT_FAILED",
]


class Order(Struct):
    """An order as it is now."""

    order_id: UUID
    state: OrderState
    buyer_id: UUID
    capture: Literal["automatic", "manual"]
    total: Money
    captured: Money
    refunded: Money
    lines: list[OrderLine]
    rejection: Rejection | None
    created_at: datetime
    updated_at: datetime


class OrderPage(Struct):
    """Newest first."""

    items: list[Order]
    next_cursor: str | None


class RefundedLine(Struct):
    """How many of a line to give back."""

    line_number: LineNumber
    quantity: Quantity


class RefundOrder(Struct, omit_defaults=True):
    """What to give back; without lines all that is left."""

    lines: list[RefundedLine] | None = None


BODIES = (
    Balance,
    StatementPage,
    DepositBody,
    Deposited,
    Product,
    ProductPage,
    NewProduct,
    ProductChange,
    PlaceOrder,
    Order,
    OrderPage,
    RefundOrder,
)
"""All that routes take and answer."""
