"""How events go out of orders and come in, beside `wiring`."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from services.orders.inbound.wallet_events import CONSUMER_GROUP, WALLET_EVENTS_TOPIC, WalletEventsDoor
from services.orders.outbound.event_contract import ORDER_EVENTS
from services.orders.outbound.order_events import ORDERS_STREAM
from services.orders.outbound.store import CONSUMER
from services.orders.ports import Store
from services.orders.settings import OrdersSettings
from services.runtime.background import Loop
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Broker
from services.runtime.clock import Clock
from services.runtime.consumer_loop import ConsumerLoop, ConsumerMetrics
from services.runtime.database.port import Database
from services.runtime.inbox_pruning import InboxPruner
from services.runtime.outbox_lag import OutboxLag
from services.runtime.outbox_relay import OutboxRelay, RelayMetrics, RelaySettings
from services.runtime.parking import Parking
from services.runtime.passes import repeat_passes
from services.runtime.registry.codec import open_codec
from services.runtime.registry.encoding_producer import EncodingProducer
from services.runtime.registry.port import MessageCodec
from services.runtime.tracing import SpanRecorder

INBOX_RETENTION: Final = timedelta(days=30)
"""How long handled events are remembered: longer than the broker keeps them."""

PRUNE_EVERY_SECONDS: Final = 600.0
"""How long nothing is looked for once nothing more is old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What publishes order events; commits that have some wake the relay."""

    codec: MessageCodec
    relay: OutboxRelay


def open_outgoing(
    settings: OrdersSettings,
    registry: CollectorRegistry,
    stack: AsyncExitStack,
    *,
    database: Database,
    broker: Broker,
    clock: Clock,
    recorder: SpanRecorder | None,
) -> Outgoing:
    """Make what publishes; the stack closes its way to the schema registry."""
    codec = open_codec(settings.schema_registry_url, [ORDER_EVENTS], outer_name=broker.outer_name)
    stack.push_async_callback(codec.close)
    producer = EncodingProducer(broker.producer(), codec)
    retained = RelaySettings(retention=timedelta(days=settings.event_retention_days))
    relay = OutboxRelay(database, producer, ORDERS_STREAM, clock, retained, RelayMetrics(registry), recorder)
    return Outgoing(codec=codec, relay=relay)


def wallet_events_consumer(
    store: Store, registry: CollectorRegistry, *, broker: Broker, clock: Clock, recorder: SpanRecorder | None
) -> ConsumerLoop:
    """Make what handles the ledger's events."""
    letters = partial(broker.replaying_consumer, topics=[f"{WALLET_EVENTS_TOPIC}{DEAD_LETTERS_SUFFIX}"])
    return ConsumerLoop(
        broker.group_consumer(group=CONSUMER_GROUP, topics=[WALLET_EVENTS_TOPIC]),
        WalletEventsDoor(store=store, clock=clock).handle,
        Parking(broker.producer(), letters, consumer_name=CONSUMER_GROUP),
        clock=clock,
        metrics=ConsumerMetrics(registry),
        recorder=recorder,
    )


def event_loops(
    relay: OutboxRelay,
    wallet_events: ConsumerLoop,
    registry: CollectorRegistry,
    *,
    database: Database,
    clock: Clock,
) -> Mapping[str, Loop]:
    """Make the loops."""
    pruner = InboxPruner(database, CONSUMER)

    async def prune_inbox() -> int:
        return await pruner.step(received_before=clock.now() - INBOX_RETENTION)

    return {
        "outbox_relay": relay.run,
        "outbox_lag": OutboxLag(database, ORDERS_STREAM, clock, registry).run,
        "wallet_events": wallet_events.run,
        "prune_inbox": partial(repeat_passes, prune_inbox, clock=clock, pause_seconds=PRUNE_EVERY_SECONDS),
    }
