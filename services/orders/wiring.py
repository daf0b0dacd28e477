"""How an orders process is put together: read from top to bottom, it is the order of the start; the end is the reverse.

Parts outside (database, broker, ledger, token issuer) → loops → doors. At the end the doors close first, then the loops
stop, then the connections are closed.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from prometheus_client import CollectorRegistry

from services.money import register_assets
from services.orders.inbound.commerce import Commerce
from services.orders.inbound.commerce_api import commerce_routes
from services.orders.inbound.finishing_loop import FinishingLoop, ForgettingLoop, KeyForgettingLoop
from services.orders.inbound.identity_service import AUDIENCE, Identity, IdentityGrpcService
from services.orders.inbound.reconciling_loop import ReconcilingLoop, ReconcilingMetrics
from services.orders.inbound.resetting_loop import ResettingLoop
from services.orders.inbound.wallet_events import CONSUMER_GROUP, WALLET_EVENTS_TOPIC, WalletEventsDoor
from services.orders.inbound.webhooks_api import webhook_routes
from services.orders.metrics import OrdersMetrics, ResetMetrics
from services.orders.outbound.due_orders import DueOrders
from services.orders.outbound.event_contract import ORDER_EVENTS
from services.orders.outbound.ledger_calls import SERVICE_CONFIG
from services.orders.outbound.ledger_client import GrpcLedger
from services.orders.outbound.ledger_guards import LedgerGuards
from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC, ORDERS_STREAM
from services.orders.outbound.passwords import Argon2Passwords
from services.orders.outbound.reads import SqlReads
from services.orders.outbound.recovery_reads import SqlRecoveryReads
from services.orders.outbound.reset_sender import HttpResetSender
from services.orders.outbound.sale_reads import SqlSaleReads
from services.orders.outbound.store import CONSUMER, SqlIdentityStore, SqlStore
from services.orders.settings import OrdersSettings
from services.orders.use_cases.bootstrap_users import bootstrap_users
from services.orders.use_cases.placing import Placing, PlacingAlone
from services.orders.use_cases.placing_together import PlacingTogether
from services.orders.webhooks_wiring import WebhookParts, webhook_loops, webhook_parts
from services.runtime.background import Loop, background
from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Broker
from services.runtime.clock import Clock, SystemClock
from services.runtime.consumer_loop import ConsumerLoop, ConsumerMetrics
from services.runtime.database.migrations import prepare_schema
from services.runtime.database.port import Database
from services.runtime.database.schema_state import check_schema
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_server import serving_grpc
from services.runtime.health import Health, asked_rarely
from services.runtime.http_app import create_http_app
from services.runtime.http_server import serving_http
from services.runtime.inbox import prune
from services.runtime.jwks import JwksClient
from services.runtime.jwt import JwtVerifier
from services.runtime.metrics import new_registry
from services.runtime.metrics_database import watch_database
from services.runtime.metrics_event_loop import EventLoopWatch
from services.runtime.outbox_lag import OutboxLag
from services.runtime.outbox_relay import OutboxRelay, RelayMetrics, RelaySettings
from services.runtime.parking import Parking
from services.runtime.registry.codec import open_codec
from services.runtime.registry.encoding_producer import EncodingProducer
from services.runtime.registry.port import MessageCodec
from services.runtime.service_tokens import ServiceTokens
from services.runtime.span_export import recording_spans
from services.runtime.tracing import SpanRecorder
from tradeflow.orders.v1.identity_service_pb2 import DESCRIPTOR
from tradeflow.orders.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server

MIGRATIONS = "services.orders.migrations"
"""The package of the tables."""

SCHEMA_OWNER = "orders"
"""What `tradeflow migrate --service` calls this service."""

TOPICS = (ORDER_EVENTS_TOPIC, WALLET_EVENTS_TOPIC, f"{WALLET_EVENTS_TOPIC}{DEAD_LETTERS_SUFFIX}")
"""Every topic that orders reads or writes."""

INBOX_RETENTION = timedelta(days=30)
"""How long handled events are remembered: longer than the broker keeps them."""

TIDY_EVERY_SECONDS = 600.0
"""How often what has expired is deleted."""


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
        grpc_target = await stack.enter_async_context(_grpc_door(settings, parts))
        http_url = await stack.enter_async_context(_http_door(settings, parts))
        stack.push_async_callback(parts.health.drain, unready_seconds=settings.unready_seconds)
        yield RunningOrders(http_url=http_url, grpc_target=grpc_target)


async def _put_together(
    settings: OrdersSettings, clock: Clock, registry: CollectorRegistry, stack: AsyncExitStack
) -> _Parts:
    recorder = stack.enter_context(
        recording_spans("orders", settings.traces_url, sampled_ratio=settings.traces_sampled_ratio)
    )
    terms = settings.to_terms()
    database = await _opened_database(settings, clock, stack)
    watch_database(database, registry)
    metrics = OrdersMetrics(registry)
    broker = await _opened_broker(settings, stack)
    keys = await stack.enter_async_context(aclosing(JwksClient(settings.jwks_url)))
    retained = RelaySettings(retention=timedelta(days=settings.event_retention_days))
    codec = open_codec(settings.schema_registry_url, [ORDER_EVENTS], outer_name=broker.outer_name)
    stack.push_async_callback(codec.close)
    producer = EncodingProducer(broker.producer(), codec)
    relay = OutboxRelay(database, producer, ORDERS_STREAM, clock, retained, RelayMetrics(registry), recorder)
    webhooks = await webhook_parts(settings, registry, stack)
    store = SqlStore(
        database,
        clock=clock,
        patience=terms.patience,
        on_events=relay.wake,
        on_notices=webhooks.wakes.set,
        on_changes=metrics.count_changes,
    )
    identity = await _identity(settings, database, clock, stack)
    door = WalletEventsDoor(store=store, clock=clock)
    wallet_events = _wallet_events(broker, door, clock, registry, recorder)
    ledger = await _ledger(settings, clock, registry, stack)
    return _Parts(
        commerce=Commerce(
            store=store,
            placing=_placing(settings, store, clock),
            reads=SqlReads(database),
            recovery=SqlRecoveryReads(database),
            selling=SqlSaleReads(database),
            ledger=ledger,
            clock=clock,
            terms=terms,
        ),
        identity=identity,
        resetting=await _resetting(settings, identity, registry, stack),
        relay=relay,
        webhooks=webhooks,
        wallet_events=wallet_events,
        database=database,
        metrics=metrics,
        verifier=JwtVerifier(keys, settings.issuer, AUDIENCE, clock),
        health=_health(database, broker, codec, keys, wallet_events),
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
    await broker.ensure_topics(TOPICS)
    return broker


async def _ledger(
    settings: OrdersSettings, clock: Clock, registry: CollectorRegistry, stack: AsyncExitStack
) -> GrpcLedger:
    secret = settings.client_secret.get_secret_value()
    tokens = await stack.enter_async_context(
        aclosing(ServiceTokens(settings.token_url, settings.client_id, secret, clock))
    )
    channel = open_channel(
        settings.ledger_grpc_target, service_config=SERVICE_CONFIG, credentials=settings.channel_credentials()
    )
    stack.push_async_callback(channel.close)
    guards = LedgerGuards.make(
        registry,
        calls_at_once_max=settings.ledger_waiting_max,
        failures_max=settings.ledger_failures_max,
        open_seconds=settings.ledger_open_seconds,
    )
    return GrpcLedger(channel, tokens, deadline_seconds=settings.ledger_deadline_seconds, guards=guards)


async def _identity(settings: OrdersSettings, database: Database, clock: Clock, stack: AsyncExitStack) -> Identity:
    passwords = Argon2Passwords(
        memory_kibibytes=settings.password_memory_kibibytes,
        passes=settings.password_passes,
        threads=settings.password_threads,
    )
    stack.callback(passwords.close)
    store = SqlIdentityStore(database)
    users = [user.to_user() for user in settings.bootstrap_users]
    await bootstrap_users(users, store=store, passwords=passwords, clock=clock)
    return Identity(store=store, passwords=passwords, clock=clock, times=settings.to_session_times())


async def _resetting(
    settings: OrdersSettings, identity: Identity, registry: CollectorRegistry, stack: AsyncExitStack
) -> ResettingLoop:
    delivery = None
    if settings.password_reset_url is not None:
        secret = settings.to_password_reset_secret()
        sender = HttpResetSender(settings.password_reset_url, secret=secret, clock=identity.clock)
        delivery = await stack.enter_async_context(aclosing(sender))
    return ResettingLoop(store=identity.store, delivery=delivery, clock=identity.clock, metrics=ResetMetrics(registry))


def _placing(settings: OrdersSettings, store: SqlStore, clock: Clock) -> Placing:
    terms = settings.to_terms()
    if settings.placed_together_max == 1:
        return PlacingAlone(store=store, clock=clock, terms=terms)
    return PlacingTogether(store=store, clock=clock, terms=terms, together_max=settings.placed_together_max)


def _wallet_events(
    broker: Broker, door: WalletEventsDoor, clock: Clock, registry: CollectorRegistry, recorder: SpanRecorder | None
) -> ConsumerLoop:
    letters = partial(broker.replaying_consumer, topics=[f"{WALLET_EVENTS_TOPIC}{DEAD_LETTERS_SUFFIX}"])
    return ConsumerLoop(
        broker.group_consumer(group=CONSUMER_GROUP, topics=[WALLET_EVENTS_TOPIC]),
        door.handle,
        Parking(broker.producer(), letters, consumer_name=CONSUMER_GROUP),
        clock=clock,
        metrics=ConsumerMetrics(registry),
        recorder=recorder,
    )


def _loops(settings: OrdersSettings, parts: _Parts) -> Mapping[str, Loop]:
    commerce, identity = parts.commerce, parts.identity
    finishing = FinishingLoop(
        store=commerce.store,
        ledger=commerce.ledger,
        clock=commerce.clock,
        terms=commerce.terms,
        pause_seconds=settings.finish_every_seconds,
    )
    forgetting = ForgettingLoop(store=identity.store, clock=identity.clock, pause_seconds=TIDY_EVERY_SECONDS)
    return {
        "outbox_relay": parts.relay.run,
        "outbox_lag": OutboxLag(parts.database, ORDERS_STREAM, commerce.clock, parts.registry).run,
        "due_orders": DueOrders(parts.database, commerce.clock, parts.metrics).run,
        "event_loop": EventLoopWatch(parts.registry).run,
        "wallet_events": parts.wallet_events.run,
        "finish_orders": finishing.run,
        "reconcile_orders": _reconciling(settings, parts).run,
        "forget_expired": forgetting.run,
        "reset_passwords": parts.resetting.run,
        "forget_keys": _key_forgetting(settings, parts).run,
        "prune_inbox": _pruning(parts.database, commerce.clock),
        **webhook_loops(settings, parts.webhooks, database=parts.database, store=commerce.store, clock=commerce.clock),
    }


def _reconciling(settings: OrdersSettings, parts: _Parts) -> ReconcilingLoop:
    return ReconcilingLoop(
        store=parts.commerce.store,
        reads=parts.commerce.recovery,
        ledger=parts.commerce.ledger,
        clock=parts.commerce.clock,
        metrics=ReconcilingMetrics(parts.registry),
        pause_seconds=settings.reconcile_every_seconds,
    )


def _key_forgetting(settings: OrdersSettings, parts: _Parts) -> KeyForgettingLoop:
    return KeyForgettingLoop(
        store=parts.commerce.store,
        clock=parts.commerce.clock,
        retention=timedelta(days=settings.request_key_retention_days),
        pause_seconds=TIDY_EVERY_SECONDS,
        on_forgotten=parts.metrics.keys_forgotten.inc,
    )


def _pruning(database: Database, clock: Clock) -> Loop:
    async def prune_inbox() -> None:
        while True:
            await prune(database, CONSUMER, received_before=clock.now() - INBOX_RETENTION)
            await clock.sleep(TIDY_EVERY_SECONDS)

    return prune_inbox


@asynccontextmanager
async def _grpc_door(settings: OrdersSettings, parts: _Parts) -> AsyncIterator[str]:
    service = IdentityGrpcService(parts.identity, parts.verifier, ask_for_reset=parts.resetting.ask)
    register: Callable[[grpc.aio.Server], None] = lambda server: add_IdentityServiceServicer_to_server(service, server)  # noqa: E731 - one line says it
    name = DESCRIPTOR.services_by_name["IdentityService"].full_name
    async with serving_grpc(
        settings.grpc_host,
        settings.grpc_port,
        register=register,
        service_names=[name],
        credentials=settings.server_credentials(),
        registry=parts.registry,
        recorder=parts.recorder,
        health=parts.health,
    ) as target:
        yield target


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
    health.add("wallet_events", wallet_events_flow)
    health.add("schema_registry", codec.check_ready)
    health.add_hint("broker", asked_rarely(partial(broker.ensure_topics, TOPICS)))
    return health
