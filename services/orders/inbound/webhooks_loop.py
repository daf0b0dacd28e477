"""The door for time, as webhooks need it: what is due is delivered."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from services.orders.metrics import WebhookMetrics
from services.orders.ports import Store
from services.orders.use_cases.deliver_webhooks import Deliveries, IsThere
from services.orders.webhook_ports import WebhookSender
from services.runtime.clock import Clock
from services.runtime.waiting import until_one_ends

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveringLoop:
    """Delivers to endpoints that failed the last time, or to all others, who so wait for none that hangs.

    Looks when it is woken by a commit, and every `pause_seconds` for what is to be tried again.
    """

    failing: bool
    store: Store
    sender: WebhookSender
    is_there: IsThere
    clock: Clock
    metrics: WebhookMetrics
    wakes: asyncio.Event
    attempts_max: int
    pause_seconds: float

    async def run(self) -> None:
        """Deliver until cancelled; a pass that took some is followed by the next, since its shares leave some."""
        deliveries = Deliveries(
            failing=self.failing,
            store=self.store,
            sender=self.sender,
            is_there=self.is_there,
            clock=self.clock,
            attempts_max=self.attempts_max,
        )
        async with aclosing(deliveries):
            while True:
                self.wakes.clear()
                delivered = await deliveries.deliver()
                self.metrics.count(delivered)
                if delivered.died:
                    logger.warning("webhooks_died", count=delivered.died)
                if not delivered.taken:
                    await until_one_ends(self.wakes.wait(), self.clock.sleep(self.pause_seconds))
