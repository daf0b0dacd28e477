"""How the delivery of webhooks is put together, beside `wiring`."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from services.orders.inbound.webhooks_loop import DeliveringLoop
from services.orders.metrics import WebhookMetrics
from services.orders.outbound.webhook_ending import WebhookEnder
from services.orders.outbound.webhook_lag import WebhookLag
from services.orders.outbound.webhook_overview import endpoint_is_there
from services.orders.outbound.webhook_sender import HttpWebhookSender
from services.orders.ports import Store
from services.orders.settings import OrdersSettings
from services.orders.use_cases.forget_webhooks import WEBHOOKS_A_PASS_MAX, forget_webhooks
from services.runtime.background import Loop
from services.runtime.clock import Clock
from services.runtime.database.port import Database
from services.runtime.passes import repeat_passes

DELIVER_EVERY_SECONDS: Final = 1.0
"""How often webhooks that are to be tried again are looked for; new ones wake their loop."""

END_EVERY_SECONDS: Final = 30.0
"""How often it is looked for what waits for endpoints that were removed."""

FORGET_EVERY_SECONDS: Final = 600.0
"""How often old deliveries are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookParts:
    """What delivers webhooks; `wakes` is set by commits that have some."""

    sender: HttpWebhookSender
    metrics: WebhookMetrics
    wakes: asyncio.Event


async def webhook_parts(settings: OrdersSettings, registry: CollectorRegistry, stack: AsyncExitStack) -> WebhookParts:
    """Make the parts; the stack closes them."""
    sender = HttpWebhookSender(
        timeout_seconds=settings.webhook_timeout_seconds,
        private_addresses_allowed=settings.webhook_private_addresses_allowed,
    )
    await stack.enter_async_context(aclosing(sender))
    return WebhookParts(sender=sender, metrics=WebhookMetrics(registry), wakes=asyncio.Event())


def webhook_loops(
    settings: OrdersSettings, parts: WebhookParts, *, database: Database, store: Store, clock: Clock
) -> Mapping[str, Loop]:
    """Make the loops."""
    delivering, retrying = (
        DeliveringLoop(
            failing=failing,
            store=store,
            sender=parts.sender,
            is_there=partial(endpoint_is_there, database),
            clock=clock,
            metrics=parts.metrics,
            wakes=wakes,
            attempts_max=settings.webhook_attempts_max,
            pause_seconds=DELIVER_EVERY_SECONDS,
        )
        for failing, wakes in ((False, parts.wakes), (True, asyncio.Event()))
    )
    ending = WebhookEnder(database, clock)
    retention = timedelta(days=settings.webhook_retention_days)
    return {
        "deliver_webhooks": delivering.run,
        "retry_webhooks": retrying.run,
        "end_webhooks": partial(repeat_passes, ending.step, clock=clock, pause_seconds=END_EVERY_SECONDS),
        "forget_webhooks": partial(
            repeat_passes,
            partial(forget_webhooks, store=store, clock=clock, retention=retention),
            full=WEBHOOKS_A_PASS_MAX,
            clock=clock,
            pause_seconds=FORGET_EVERY_SECONDS,
        ),
        "webhook_lag": WebhookLag(database, clock, parts.metrics).run,
    }
