"""How an orders process is put together: read from top to bottom, it is the order of the start; the end is the reverse.

Parts outside (database, broker, ledger, token issuer) → loops → doors. At the end the doors close first, then the loops
stop, then the connections are closed.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry

from services.money import register_assets
from services.orders.commerce_wiring import commerce_loops, open_commerce
from services.orders.events_wiring import event_loops, open_outgoing, wallet_events_consumer
from services.orders.identity_wiring import identity_loops, open_identity, open_resetting, serving_identity
from services.orders.inbound.commerce import Commerce
from services.orders.inbound.commerce_api import commerce_routes
from services.orders.inbound.identity_service import AUDIENCE, Identity, IdentityGrpcService
from services.orders.inbound.resetting_loop import ResettingLoop
from services.orders.inbound.wallet_events import WALLET_EVENTS_TOPIC
from services.orders.inbound.webhooks_api import webhook_routes
from services.orders.metrics import OrdersMetrics
from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC
from services.orders.outbound.store import SqlStore
from services.orders.settings import OrdersSettings
from services.orders.webhooks_wiring import WebhookParts, webhook_loops, webhook_parts
from services.runtime.background import Loop, background
from services.runtime.broker.opening import open_broker, require_topics
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Broker
from services.runtime.clock import Clock, SystemClock
from services.runtime.consumer_loop import ConsumerLoop
from services.runtime.database.migrations import prepare_schema
from services.runtime.database.port import Database
from services.runtime.database.schema_state import check_schema
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.health import Health, asked_rarely
from services.runtime.http_app import create_http_app
from services.runtime.http_server import serving_http
from services.runtime.jwks import JwksClient
from services.runtime.jwt import JwtVerifier
from services.runtime.metrics import new_registry
from services.runtime.metrics_database import watch_database
from services.runtime.metrics_event_loop import EventLoopWatch
from services.runtime.outbox_relay import OutboxRelay
from services.runtime.registry.port import MessageCodec
from services.runtime.span_export import recording_spans
from services.runtime.tracing import SpanRecorder

MIGRATIONS = "services.orders.migrations"
"""The package of the tables."""

SCHEMA_OWNER = "orders"
"""What `tradeflow migrate --service` calls this service."""

TOPICS = (ORDER_EVENTS_TOPIC, WALLET_EVENTS_TOPIC, f"{WALLET_EVENTS_TOPIC}{DEAD_LETTERS_SUFFIX}")
"""Every topic that orders reads or writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOrders:
    """Where a started orders process is found."""

    http_url: str
    grpc_target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the loops and the doors are made of."""

    commerce: Commerce
    identity: Identity
    resetting: ResettingLoop
    relay: OutboxRelay
    webhooks: WebhookParts
    wallet_events: ConsumerLoop
    database: Database
    metrics: OrdersMetrics
    verifier: JwtVerifier
    health: Health
    registry: CollectorRegistry
    recorder: SpanRecorder | None


@asynccontextmanager
async def running(
    settings: OrdersSettings, *, clock: Clock | None = None, registry: CollectorRegistry | None = None
) -> AsyncIterator[RunningOrders]:
    """Run an orders process while the body runs.

    Args:
        settings: What it needs to know.
        clock: Where `now` comes from.
        registry: What `/metrics` shows; a new one, if it isn't given.

    Raises:
        InvalidArgumentError: A URL's scheme isn't supported, or a bootstrap user makes no sense.
        OSError: An address can't be listened on.
    """
    register_assets(settings.assets)
    async with AsyncExitStack() as stack:
        parts = await _put_together(settings, clock or SystemClock(), registry or new_registry("orders"), stack)
        loops = _loops(settings, parts)
        await stack.enter_async_context(background(loops, registry=parts.registry, on_end=parts.health.note_ended))
        identity_door = serving_identity(
            settings,
            IdentityGrpcService(parts.identity, parts.verifier, ask_for_reset=parts.resetting.ask),
            health=parts.health,
            registry=parts.registry,
            recorder=parts.recorder,
        )
        grpc_target = await stack.enter_async_context(identity_door)
        http_url = await stack.enter_async_context(_http_door(settings, parts))
        stack.push_async_callback(parts.health.drain, unready_seconds=settings.unready_seconds)
        yield RunningOrders(http_url=http_url, grpc_target=grpc_target)


async def _put_together(
    settings: OrdersSettings, clock: Clock, registry: CollectorRegistry, stack: AsyncExitStack
) -> _Parts:
    recorder = stack.enter_context(
        recording_spans("orders", settings.traces_url, sampled_ratio=settings.traces_sampled_ratio)
    )
    database = await _opened_database(settings, clock, stack)
    watch_database(database, registry)
    broker = await _opened_broker(settings, stack)
    keys = await stack.enter_async_context(aclosing(JwksClient(settings.jwks_url)))
    outgoing = open_outgoing(
        settings, registry, stack, database=database, broker=broker, clock=clock, recorder=recorder
    )
    webhooks = await webhook_parts(settings, registry, stack)
    metrics = OrdersMetrics(registry)
    store = SqlStore(
        database,
        clock=clock,
        patience=settings.to_terms().patience,
        on_events=outgoing.relay.wake,
        on_notices=webhooks.wakes.set,
        on_changes=metrics.count_changes,
    )
    identity = await open_identity(settings, stack, database=database, clock=clock)
    wallet_events = wallet_events_consumer(store, registry, broker=broker, clock=clock, recorder=recorder)
    return _Parts(
        commerce=await open_commerce(settings, registry, stack, store=store, database=database, clock=clock),
        identity=identity,
        resetting=await open_resetting(settings, registry, stack, identity=identity),
        relay=outgoing.relay,
        webhooks=webhooks,
        wallet_events=wallet_events,
        database=database,
        metrics=metrics,
        verifier=JwtVerifier(keys, settings.issuer, AUDIENCE, clock),
        health=_health(database, broker, outgoing.codec, keys, wallet_events),
        registry=registry,
        recorder=recorder,
    )


async def _opened_database(settings: OrdersSettings, clock: Clock, stack: AsyncExitStack) -> Database:
    database = open_database(settings.database_url)
    stack.push_async_callback(database.close)
    await prepare_schema(
        database, MIGRATIONS, service=SCHEMA_OWNER, migrate_on_start=settings.migrate_on_start, clock=clock
    )
    return database


async def _opened_broker(settings: OrdersSettings, stack: AsyncExitStack) -> Broker:
    broker = open_broker(settings.broker_url)
    stack.push_async_callback(broker.close)
    await require_topics(broker, TOPICS)
    return broker


def _loops(settings: OrdersSettings, parts: _Parts) -> Mapping[str, Loop]:
    database, commerce, registry = parts.database, parts.commerce, parts.registry
    clock = commerce.clock
    return {
        "event_loop": EventLoopWatch(registry).run,
        **event_loops(parts.relay, parts.wallet_events, registry, database=database, clock=clock),
        **commerce_loops(settings, commerce, database=database, metrics=parts.metrics, registry=registry),
        **identity_loops(parts.identity, parts.resetting),
        **webhook_loops(settings, parts.webhooks, database=database, store=commerce.store, clock=clock),
    }


@asynccontextmanager
async def _http_door(settings: OrdersSettings, parts: _Parts) -> AsyncIterator[str]:
    app = create_http_app(
        title="TradeFlow orders",
        route_handlers=[
            *commerce_routes(parts.commerce),
            *webhook_routes(parts.commerce, plain_http_allowed=settings.webhook_plain_http_allowed),
        ],
        verifier=parts.verifier,
        health=parts.health,
        registry=parts.registry,
        recorder=parts.recorder,
    )
    async with serving_http(app, settings.http_host, settings.http_port) as url:
        yield url


def _health(
    database: Database, broker: Broker, codec: MessageCodec, keys: JwksClient, wallet_events: ConsumerLoop
) -> Health:
    async def database_answers() -> None:
        async with database.snapshot() as connection:
            await connection.fetch("SELECT 1")

    async def wallet_events_flow() -> None:
        if not wallet_events.healthy:
            raise UnavailableError("Too many wallet events could not be handled; see the dead letters.")

    health = Health()
    health.add("database", database_answers)
    health.add("schema", partial(check_schema, database, MIGRATIONS, service=SCHEMA_OWNER))
    health.add("issuer", keys.check_ready)
    health.add("schema_registry", codec.check_ready)
    health.add_hint("broker", asked_rarely(partial(broker.ensure_topics, TOPICS)))
    health.add_hint("wallet_events", wallet_events_flow)
    return health
