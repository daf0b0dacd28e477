"""Webhooks: what merchants are told about the orders they sell in, and how long somebody tries.

In the form of Standard Webhooks: each message has an id that stays through all attempts, and is signed with a secret
that only the merchant and the platform know. Deliveries may come more than once and in any order.

Source: the Standard Webhooks specification, https://github.com/standard-webhooks/standard-webhooks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from services.orders.domain.order import CaptureMode, Order, StateChange
from services.orders.domain.order_state import OrderState
from services.runtime.errors import InvalidArgumentError, NotFoundError, RefusedError

URL_CHARACTERS_MAX: Final = 2_048
"""The longest address: the width of its column."""

ENDPOINTS_MAX: Final = 10
"""Endpoints of one merchant: each message is written once for each of them."""

SECRET_BYTES: Final = 32
"""As long as the hash that it keys."""

OLD_SECRET_LIFETIME: Final = timedelta(hours=24)
"""How long a rotated secret signs beside the new one: time for a merchant to take the new one into use."""

FIRST_PAUSE_SECONDS: Final = 5
"""Before the second attempt, and before an endpoint that failed once is asked again."""

LONGEST_PAUSE_SECONDS: Final = 6 * 3_600
"""Between two late attempts of one delivery."""

LONGEST_ENDPOINT_PAUSE_SECONDS: Final = 300
"""How long an endpoint that keeps failing is left alone: one attempt in five minutes finds out that it is back."""

TOLD_STATES: Final = {
    OrderState.RESERVED: "order.reserved",
    OrderState.CONFIRMED: "order.confirmed",
    OrderState.SETTLED: "order.settled",
    OrderState.PARTIALLY_REFUNDED: "order.refunded",
    OrderState.REFUNDED: "order.refunded",
    OrderState.CANCELLED: "order.cancelled",
    OrderState.EXPIRED: "order.expired",
    OrderState.SETTLEMENT_FAILED: "order.settlement_failed",
}
"""Which states are told, and as what."""


class DeliveryState(Enum):
    """Where a delivery stands."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


class TooManyEndpointsError(RefusedError):
    """A merchant has as many endpoints as there may be."""

    default_reason = "too_many_endpoints"


class EndpointNotFoundError(NotFoundError):
    """No such endpoint, or not for this caller."""

    default_reason = "endpoint_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Where a merchant listens. `secrets` sign, the newest first; `failures` are those since the last success."""

    endpoint_id: UUID
    merchant_id: UUID
    url: str
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(repr=False)
    old_secret_ends_at: datetime | None
    failures: int
    created_at: datetime

    def rotate(self, secret: bytes, now: datetime) -> "WebhookEndpoint":
        """Sign with a new secret, and with the one before for a while; one from before that ends at once."""
        return replace(self, secret=secret, old_secret=self.secret, old_secret_ends_at=now + OLD_SECRET_LIFETIME)

    def secrets(self, now: datetime) -> tuple[bytes, ...]:
        """List the secrets that sign at an instant."""
        if self.old_secret is None or self.old_secret_ends_at is None or now >= self.old_secret_ends_at:
            return (self.secret,)
        return (self.secret, self.old_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One move of an order, as one of its sellers is told; `body` is what is sent, made at the commit of the move."""

    message_id: UUID
    merchant_id: UUID
    order_id: UUID
    event_type: str
    body: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message on its way to one endpoint; `status` is what the endpoint answered last, 0 when it didn't."""

    endpoint_id: UUID
    message_id: UUID
    event_type: str
    order_id: UUID
    state: DeliveryState
    attempts: int
    status: int
    error: str
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime


def check_url(url: str, *, plain_http_allowed: bool) -> str:
    """Return an address that can be called; whom it leads to is checked at each delivery.

    Raises:
        InvalidArgumentError: `invalid_url`.
    """
    schemes = {"https", "http"} if plain_http_allowed else {"https"}
    if not 1 <= len(url) <= URL_CHARACTERS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise _invalid_url(f"An address has 1 to {URL_CHARACTERS_MAX} printable ASCII characters.")
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _invalid_url("The address can't be read.") from None
    if parts.scheme not in schemes:
        raise _invalid_url(f"An address begins with {' or '.join(sorted(f'{scheme}://' for scheme in schemes))}.")
    if not has_host or parts.username is not None or parts.password is not None or parts.fragment:
        raise _invalid_url("An address has a host, no user and no fragment.")
    return url


def told_changes(order: Order) -> Iterator[tuple[StateChange, str]]:
    """List the order's changes that sellers are told of, each with its event type.

    RESERVED is told only where somebody has to confirm. A refund that was refused leads back to SETTLED, which isn't
    told again.
    """
    for change in order.changes:
        passes_by = change.state is OrderState.RESERVED and order.capture is CaptureMode.AUTOMATIC
        leads_back = change.state is OrderState.SETTLED and change.from_state is not OrderState.CONFIRMED
        if change.state in TOLD_STATES and not passes_by and not leads_back:
            yield change, TOLD_STATES[change.state]


def _invalid_url(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="invalid_url")
