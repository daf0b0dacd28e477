"""The JSON of the public routes that orders and the ledger answer: for the API's description only.

The services have the last word; a test holds these against their own.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from services.gateway.inbound.deposits_api import DepositBody
from services.money_json import PositiveMoneyBody

Sku = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._@:+-]{1,64}$")]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
LineNumber = Annotated[int, Meta(ge=1)]
Stock = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Title = Annotated[str, Meta(min_length=1, max_length=200)]
Instant = Annotated[datetime, Meta(tz=True)]
"""Without an offset, msgspec names no format."""


class Money(Struct):
    """An amount in minor units of a currency, at most 2^53 - 1 in size: 1050 EUR is 10.50 euros, 1050 JPY 1,050 yen."""

    amount_minor: int
    currency: str
    """An ISO 4217 code."""


class Balance(Struct):
    """A wallet's balance in one currency; `available` is told as 2^53 - 1 where a limit makes it more."""

    wallet_id: UUID
    currency: str
    posted: Money
    """Settled."""
    pending_outgoing: Money
    """Held for orders: still posted, no longer available."""
    available: Money
    """What may be spent now, at most 2^53 - 1 of it."""
    overdraft_limit: Money
    account_sequence: int


class PostedBalance(Struct):
    """What was settled at an instant; holds are no postings, so that what was available isn't told."""

    wallet_id: UUID
    currency: str
    posted: Money
    journal_sequence: int
    """The newest record of the book that was recorded by then."""
    account_sequence: int


class SignedHead(Struct):
    """Where the ledger's book stood; bytes are base64, the signature is Ed25519."""

    book_id: int
    tree_size: int
    """How many records the tree has."""
    root: bytes
    """Of the RFC 9162 tree over the records' hashes."""
    last_hash: bytes
    signed_at: Instant
    key_id: str
    signature: bytes


class SigningKey(Struct):
    """A public key as a JSON Web Key, and the signature of the key before it."""

    kid: str
    """The RFC 7638 thumbprint."""
    x: str
    introduced_at: Instant
    endorsed_by: str | None = None
    endorsement: bytes | None = None
    kty: str = "OKP"
    crv: str = "Ed25519"
    alg: str = "EdDSA"
    use: str = "sig"


class SigningKeys(Struct):
    """A JWK set."""

    keys: list[SigningKey]


class StatementFile(Struct):
    """A statement that proves itself; `tradeflow statement check` reads it."""

    format: str
    book_id: int
    account: dict[str, Any]
    from_account_sequence: int
    to_account_sequence: int
    lines: list[dict[str, Any]]
    """Records with the own postings in full, and a path from each to the head."""
    head: SignedHead
    assertion: dict[str, Any]
    """The account's last posting and balance under that head, signed with the rest."""
    keys: list[SigningKey]


class StatementLine(Struct):
    """A posting."""

    journal_sequence: int
    account_sequence: int
    recorded_at: Instant
    effective_at: Instant
    """When it counts."""
    kind: str
    """For example deposit, capture, refund."""
    amount: Money
    """Positive when the wallet received."""
    balance: Money
    """After it."""
    order_id: UUID | None


class StatementPage(Struct):
    """Oldest first, unless asked otherwise."""

    items: list[StatementLine]
    next_cursor: str | None


class Deposited(Struct):
    """The proof of a deposit or a withdrawal: `replayed` when an earlier call with this key did it.

    `dry_run` when nothing was done, because that was asked for; its `journal_sequence` is 0.
    """

    wallet_id: UUID
    amount: Money
    journal_sequence: int
    recorded_at: Instant
    replayed: bool
    dry_run: bool


class DepositedTo(Deposited):
    """The proof of a deposit, and to whom it went: that one had the address first, and nobody has verified it."""

    user_id: UUID
    email: str
    user_created_at: Instant
    """Since when the user is there."""


class Withdrawal(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Money to take out."""

    amount: PositiveMoneyBody
    note: Annotated[str, Meta(max_length=1024)] = ""
    metadata: dict[str, str] = {}
    """At most 4,096 bytes as JSON."""
    dry_run: bool = False
    """Decide and change nothing."""


class Product(Struct):
    """Something for sale."""

    sku: Sku
    title: str
    price: Money
    seller_id: UUID
    stock: int | None
    """None when it isn't counted."""
    created_at: Instant
    updated_at: Instant


class ProductPage(Struct):
    """Products by their codes."""

    items: list[Product]
    next_cursor: str | None


class NewProduct(Struct, forbid_unknown_fields=True):
    """A product to sell; `stock` null where nobody counts."""

    sku: Sku
    title: Title
    price: PositiveMoneyBody
    stock: Stock | None


class ProductChange(Struct, forbid_unknown_fields=True):
    """What to change; what is left out stays. `stock`: so many from now on; null: nobody counts any more.

    `expected_stock`: only while there are so many; null: while nobody counts. Left out: whatever there is.
    """

    title: Title | UnsetType = UNSET
    price: PositiveMoneyBody | UnsetType = UNSET
    stock: Stock | UnsetType | None = UNSET
    expected_stock: Stock | UnsetType | None = UNSET


class WantedLine(Struct, forbid_unknown_fields=True):
    """How many of what."""

    sku: Sku
    quantity: Quantity


class PlaceOrder(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """An order, all of one currency. With `manual` capture it waits for somebody to confirm it.

    `expected_total` is what the buyer was shown: when it costs anything else by now, nothing is ordered. Left out:
    whatever it costs.
    """

    lines: Annotated[list[WantedLine], Meta(min_length=1, max_length=1000)]
    capture: Literal["automatic", "manual"] = "automatic"
    expected_total: PositiveMoneyBody | None = None


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
    refundable: Money
    """What can still go back for it; nothing before its sellers are paid."""


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
    """An order as it is now; sellers who aren't its buyer see their own lines and the sums of these."""

    order_id: UUID
    state: OrderState
    buyer_id: UUID
    capture: Literal["automatic", "manual"]
    total: Money
    captured: Money
    refunded: Money
    lines: list[OrderLine]
    rejection: Rejection | None
    created_at: Instant
    updated_at: Instant


class OrderPage(Struct):
    """Newest first."""

    items: list[Order]
    next_cursor: str | None


class RefundedLine(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """How many of a line to give back, or an amount for it without any piece: one of the two."""

    line_number: LineNumber
    quantity: Quantity | None = None
    amount: PositiveMoneyBody | None = None


class RefundOrder(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What to give back: lines, or an amount that is spread over them; without either, all that is left."""

    lines: Annotated[list[RefundedLine], Meta(min_length=1)] | None = None
    amount: PositiveMoneyBody | None = None


BODIES = (
    Balance,
    PostedBalance,
    StatementPage,
    StatementFile,
    SignedHead,
    SigningKeys,
    DepositBody,
    Deposited,
    DepositedTo,
    Withdrawal,
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
