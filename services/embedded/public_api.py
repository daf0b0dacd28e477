"""The shapes of the public API, as a client reads them.

Every field that the gateway documents is here; fields that it adds later are ignored, so an older client keeps working.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from services.money import Money

Item = TypeVar("Item")


class User(Struct, frozen=True, kw_only=True):
    """A registered person; `user_id` is also the id of the wallet."""

    user_id: UUID
    email: str
    roles: list[str]
    created_at: datetime


class Tokens(Struct, frozen=True, kw_only=True):
    """A session: a short-lived access token and what renews it."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int


class Product(Struct, frozen=True, kw_only=True):
    """Something for sale; `stock` None means that nobody counts it."""

    sku: str
    title: str
    price: Money
    seller_id: UUID
    stock: int | None
    created_at: datetime
    updated_at: datetime


class OrderLine(Struct, frozen=True, kw_only=True):
    """What was bought of one product, at the price it had."""

    line_number: int
    sku: str
    title: str
    quantity: int
    unit_price: Money
    total: Money
    seller_id: UUID
    refunded_quantity: int
    refundable: Money | None = None
    """None where the platform is older than that."""


class Rejection(Struct, frozen=True, kw_only=True):
    """Why an order came to nothing."""

    reason: str
    message: str


class Order(Struct, frozen=True, kw_only=True):
    """An order as it is now; see DESIGN for its states."""

    order_id: UUID
    state: str
    buyer_id: UUID
    capture: str
    total: Money
    captured: Money
    refunded: Money
    lines: list[OrderLine]
    rejection: Rejection | None
    created_at: datetime
    updated_at: datetime


class Refund(Struct, frozen=True, kw_only=True):
    """What goes back of an order: PENDING until the ledger has answered, then DONE or REFUSED."""

    refund_id: UUID
    state: str
    amount: Money
    requested_by: UUID
    rejection: Rejection | None
    created_at: datetime
    updated_at: datetime


class Balance(Struct, frozen=True, kw_only=True):
    """One account: available = posted - pending outgoing + overdraft limit."""

    wallet_id: UUID
    currency: str
    posted: Money
    pending_outgoing: Money
    available: Money
    overdraft_limit: Money
    account_sequence: int


class StatementLine(Struct, frozen=True, kw_only=True):
    """One posting, with the posted balance after it; a debit's amount is negative."""

    journal_sequence: int
    account_sequence: int
    recorded_at: datetime
    kind: str
    amount: Money
    balance: Money
    order_id: UUID | None


class DepositReceipt(Struct, frozen=True, kw_only=True):
    """The proof of a deposit."""

    wallet_id: UUID
    amount: Money
    journal_sequence: int
    recorded_at: datetime
    replayed: bool


class Page(Struct, Generic[Item], frozen=True, kw_only=True):
    """A part of a list; `next_cursor` leads to the next one, None ends it."""

    items: list[Item]
    next_cursor: str | None = None


class WalletEvent(Struct, frozen=True, kw_only=True):
    """A fact about the caller's wallet; sequences of one wallet have no gaps.

    `balance` is the account's after it; None where no account was touched.
    """

    event_id: UUID
    wallet_id: UUID
    sequence: int
    recorded_at: datetime
    journal_sequence: int
    balance: Balance | None
    kind: str
    fact: dict[str, Any]


class Hello(Struct, frozen=True, kw_only=True, tag="hello"):
    """The first message of a connection; `last_sequence` is the wallet's newest."""

    wallet_id: UUID
    last_sequence: int


class Event(Struct, frozen=True, kw_only=True, tag="event"):
    """Something happened to the wallet."""

    event: WalletEvent


class ReloadRequired(Struct, frozen=True, kw_only=True, tag="reload_required"):
    """Events are missing for good: read the balance again and go on from `last_sequence`."""

    last_sequence: int


class Heartbeat(Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """The connection lives."""


class Draining(Struct, frozen=True, kw_only=True, tag="draining"):
    """The server stops soon; connect again."""


Notification = Hello | Event | ReloadRequired | Heartbeat | Draining
"""What the server sends over `/ws/notifications`."""
