"""What the use cases ask of the world, as small protocols.

`Store.transaction()` gives `Rows`: everything that one transaction reads and writes. What is done through one `Rows`
commits together or not at all, events included.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from services.orders.domain.hold import Hold
from services.orders.domain.order import Order
from services.orders.domain.order_state import OrderState
from services.orders.domain.product import Product
from services.orders.domain.refund import Refund
from services.orders.domain.request_key import KeyRecord, RequestKey
from services.orders.list_part import Part
from services.orders.recovery_ports import ComparisonRows
from services.orders.selling_ports import FeeRows
from services.orders.webhook_ports import WebhookRows

MessageT = TypeVar("MessageT")


class OrderRows(Protocol):
    """The orders of one transaction."""

    async def lock(self, order_ids: Sequence[UUID]) -> None:
        """Lock and read many orders at once, in the order of their ids, so that `find` has them."""
        ...

    async def find(self, order_id: UUID) -> Order | None:
        """Lock and read an order; one that this transaction has locked is as this transaction left it."""
        ...

    async def add(self, order: Order, *, by: str) -> None:
        """Write a new order with its lines and its history; see `domain.mover` for who it is by."""
        ...

    async def save(self, order: Order, *, by: str, journal_sequence: int = 0) -> None:
        """Write the order's changes, with their history: who made them, and the ledger's record behind them.

        Raises:
            ConflictError: `order_changed`: somebody else changed it since it was read.
        """
        ...

    async def take_due(self, now: datetime, *, orders_max: int) -> list[UUID]:
        """Return orders that somebody should look at, and put the next look at each off, longer each time."""
        ...

    async def rest(self, order_id: UUID) -> None:
        """Nobody needs to look at this order again, unless it moves."""
        ...


class ProductRows(Protocol):
    """The products of one transaction."""

    async def find(self, sku: str) -> Product | None:
        """Lock and read a product."""
        ...

    async def find_all(self, skus: Sequence[str]) -> dict[str, Product]:
        """Lock and read products, in the order of their skus; unknown ones are left out."""
        ...

    async def add(self, product: Product) -> None:
        """Write a new product."""
        ...

    async def save(self, product: Product) -> None:
        """Write a product that this transaction has locked."""
        ...

    async def move_stock(self, deltas: Mapping[str, int]) -> None:
        """Add to (or take from) what is left of counted products, in the order of their skus."""
        ...


class RefundRows(Protocol):
    """The refunds of one transaction."""

    async def find(self, refund_id: UUID) -> Refund | None:
        """Read a refund."""
        ...

    async def pending(self, order_id: UUID) -> Refund | None:
        """Read the refund that a REFUNDING order waits for."""
        ...

    async def newest_refused(self, order_id: UUID) -> Refund | None:
        """Read the newest of an order's refunds that the ledger refused."""
        ...

    async def add(self, refund: Refund) -> None:
        """Write a new refund."""
        ...

    async def save(self, refund: Refund) -> None:
        """Write what became of it."""
        ...


class KeyRows(Protocol):
    """The idempotency keys of one transaction."""

    async def add(self, record: KeyRecord) -> None:
        """Write a key that nobody has.

        The transaction, or its end, raises ConflictError `key_known` where somebody has it; nothing is written then.
        """
        ...

    async def claim(self, record: KeyRecord) -> KeyRecord | None:
        """Write the key and return None, or lock and return what an earlier request left under it."""
        ...

    async def knows(self, request: RequestKey) -> bool:
        """Tell, without a lock, whether an earlier request came with this key."""
        ...

    async def lease(self, request: RequestKey, *, holder: UUID, lease_expires_at: datetime) -> None:
        """Begin a new lease of a key that is in flight, whoever held it."""
        ...

    async def give_back(self, request: RequestKey, *, holder: UUID, now: datetime) -> None:
        """End the holder's lease of a key that is in flight; another's stays."""
        ...

    async def finish(self, request: RequestKey) -> None:
        """Remember that the request was answered."""
        ...

    async def refuse(self, request: RequestKey, reason: str, message: str, details: Mapping[str, str]) -> None:
        """Remember that the request was refused, and why."""
        ...

    async def forget(self, *, created_before: datetime, now: datetime, keys_max: int) -> int:
        """Delete the oldest keys that no request works under; return how many."""
        ...


class Events(Protocol):
    """What this transaction tells the world; published after it committed."""

    def order_confirmed(self, order: Order, now: datetime) -> None:
        """Tell the ledger to capture the order's hold."""
        ...


class Inbox(Protocol):
    """Events that were handled before."""

    async def only_new(self, messages: Sequence[MessageT]) -> list[MessageT]:
        """Remember all of them, and return those that were not known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Everything that one transaction reads and writes."""

    orders: OrderRows
    products: ProductRows
    refunds: RefundRows
    keys: KeyRows
    events: Events
    inbox: Inbox
    comparisons: ComparisonRows
    webhooks: WebhookRows
    fees: FeeRows


class Store(Protocol):
    """The orders database, as the use cases of commerce see it."""

    def transaction(self) -> AbstractAsyncContextManager[Rows]:
        """Begin; commit at the end, roll back on any exception. No call to another service inside it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders of a list; `before` is the last order of the page before, newest first."""

    buyer_id: UUID | None = None
    seller_id: UUID | None = None
    state: OrderState | None = None
    before: UUID | None = None
    orders_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFilter:
    """Which refunds of an order: those with a line of `seller_id`, older than `before`, the last of the page before."""

    order_id: UUID
    seller_id: UUID | None = None
    before: UUID | None = None
    refunds_max: int


class Reads(Protocol):
    """What is only read, without locks."""

    async def order(self, order_id: UUID) -> Order | None:
        """Read an order."""
        ...

    async def orders(self, order_filter: OrderFilter) -> Part[Order]:
        """Read orders, newest first."""
        ...

    async def product(self, sku: str) -> Product | None:
        """Read a product."""
        ...

    async def products(self, *, after_sku: str, products_max: int) -> list[Product]:
        """Read products in the order of their skus."""
        ...

    async def refunds(self, refund_filter: RefundFilter) -> Part[Refund]:
        """Read an order's refunds with all of their lines, newest first."""
        ...


class Ledger(Protocol):
    """The ledger's commands on one order's hold; each has a key of its own, so calling again is safe.

    All raise `UnavailableError` when nothing is known, and `RejectedError` when the ledger said no.
    """

    def check_there(self) -> None:
        """Let those pass whose command would be sent now.

        Raises:
            UnavailableError: `ledger_unavailable`: it hasn't answered for a while, and calls are held back.
        """
        ...

    async def reserve_funds(self, order: Order, *, buyer_token: str, expires_at: datetime) -> Hold:
        """Hold the order's total; with automatic capture the hold is permanent at once."""
        ...

    async def commit_hold(self, order: Order) -> Hold:
        """Make the hold permanent."""
        ...

    async def void_hold(self, order_id: UUID, *, buyer_id: UUID) -> Hold:
        """Release what remains; an unknown hold becomes a tombstone. Refused with `hold_captured`."""
        ...

    async def refund_capture(self, order: Order, refund: Refund) -> Hold:
        """Give captured money back."""
        ...

    async def find_hold(self, order_id: UUID) -> Hold | None:
        """Tell the hold as it is now. None isn't final: void it to make it so."""
        ...

    async def find_holds(self, order_ids: Sequence[UUID]) -> dict[UUID, Hold]:
        """Tell many orders' holds as they are now, by the orders' ids; those that there aren't are left out."""
        ...
