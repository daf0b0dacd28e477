"""What webhooks ask of the world, beside `ports`, which is for what moves orders."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.orders.domain.webhook import Delivery, DeliveryState, WebhookEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenDelivery:
    """A delivery that this process has until `taken_until`; then anybody may take it again."""

    endpoint: WebhookEndpoint
    message_id: UUID
    body: bytes
    attempts: int
    created_at: datetime
    taken_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of an attempt: `status` is 0 and `error` says why when there was no answer."""

    status: int
    error: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the endpoint has the message."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's successes

    @property
    def is_final(self) -> bool:
        """Whether the endpoint says that it will never take messages again: 410 Gone."""
        return self.status == 410  # noqa: PLR2004 - HTTP's Gone


class WebhookRows(Protocol):
    """Endpoints and deliveries in one transaction."""

    async def lock(self, merchant_id: UUID) -> None:
        """Lock what a merchant may register until the end of the transaction; count their endpoints after that."""
        ...

    async def has_ended(self, merchant_id: UUID, generation: int) -> bool:
        """Tell whether all sessions of a generation of the merchant's have ended; see `end_all_sessions`."""
        ...

    async def endpoints(self, merchant_id: UUID) -> list[WebhookEndpoint]:
        """Read a merchant's endpoints, the oldest first."""
        ...

    async def endpoint(self, endpoint_id: UUID) -> WebhookEndpoint | None:
        """Lock and read an endpoint."""
        ...

    async def add(self, endpoint: WebhookEndpoint) -> None:
        """Write a new endpoint."""
        ...

    async def save_secrets(self, endpoint: WebhookEndpoint) -> None:
        """Write an endpoint's secrets."""
        ...

    async def remove(self, endpoint: WebhookEndpoint, now: datetime) -> None:
        """End an endpoint: nothing is taken for it from then on."""
        ...

    async def take_due(
        self,
        now: datetime,
        *,
        failing: bool,
        but: AbstractSet[UUID] = frozenset(),
        taken_until: datetime,
        rows_max: int,
    ) -> list[TakenDelivery]:
        """Take what is due longest at each endpoint that isn't left alone for a while: equal shares of `rows_max`.

        Args:
            now: What is due by now.
            failing: Whether of endpoints that failed the last time, or of all others.
            but: Endpoints of which nothing is taken.
            taken_until: Until when nobody else takes it.
            rows_max: How many deliveries in all.
        """
        ...

    async def finish(
        self, taken: TakenDelivery, attempt: Attempt, state: DeliveryState, *, due_at: datetime | None, now: datetime
    ) -> None:
        """Write what an attempt came to, unless somebody took the delivery over meanwhile."""
        ...

    async def give_back(self, taken: TakenDelivery, *, due_at: datetime) -> None:
        """Leave a delivery for later that was taken and not tried."""
        ...

    async def judge(self, endpoint: WebhookEndpoint, *, failures: int, resumes_at: datetime) -> None:
        """Write how often an endpoint failed in a row, and until when it is left alone."""
        ...

    async def deliveries(
        self, endpoint_id: UUID, *, state: DeliveryState | None, before: UUID | None, rows_max: int
    ) -> list[Delivery]:
        """Read deliveries to an endpoint, the newest first."""
        ...

    async def redrive(self, endpoint_id: UUID | None, *, message_id: UUID | None, now: datetime, rows_max: int) -> int:
        """Make dead deliveries due again, with all their attempts; return how many."""
        ...

    async def forget(self, *, updated_before: datetime, rows_max: int) -> int:
        """Delete the oldest deliveries that ended; return how many."""
        ...

    async def forget_endpoints(self, *, removed_before: datetime, rows_max: int) -> int:
        """Delete endpoints that were removed, once all that was for them is forgotten; return how many."""
        ...


class WebhookSender(Protocol):
    """Calls a merchant's endpoint."""

    async def send(self, taken: TakenDelivery, *, secrets: Sequence[bytes], now: datetime) -> Attempt:
        """Send a signed message once. Never raises for what the endpoint, or the way to it, did wrong."""
        ...
