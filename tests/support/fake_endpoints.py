"""Merchants' endpoints in memory: they take what they are sent, or fail as a test says."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from services.orders.webhook_ports import Attempt, TakenDelivery


class FakeEndpoints:
    """Fits `WebhookSender`."""

    def __init__(self) -> None:
        """Begin with endpoints that take everything."""
        self.status_of: defaultdict[UUID, int] = defaultdict(lambda: 204)
        self.sent: list[TakenDelivery] = []
        self.taken: defaultdict[UUID, list[UUID]] = defaultdict(list)
        self.secrets: list[tuple[bytes, ...]] = []
        self.before_answer: Callable[[], None] = lambda: None

    async def send(self, taken: TakenDelivery, *, secrets: Sequence[bytes], now: datetime) -> Attempt:
        """Take a message, or fail with the endpoint's status."""
        _ = now
        self.sent.append(taken)
        self.secrets.append(tuple(secrets))
        self.before_answer()
        status = self.status_of[taken.endpoint.endpoint_id]
        attempt = Attempt(status=status, error="" if status == 204 else f"status {status}")
        if attempt.succeeded:
            self.taken[taken.endpoint.endpoint_id].append(taken.message_id)
        return attempt
