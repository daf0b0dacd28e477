"""How an orders process is put together: read from top to bottom, it is the order of the start; the end is the reverse.

Parts outside (database, broker, ledger, token issuer) → loops → doors. At the end the doors close first, then the loops
stop, then the connections are closed.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
from prometheus_client import CollectorRegistry

from services.orders.inbound.commerce import Commerce
from services.orders.inbound.finishing_loop import FinishingLoop, ForgettingLoop
from services.orders.inbound.identity_service import AUDIENCE, Identity, IdentityGrpcService
from services.orders.inbound.orders_api import order_routes
from services.orders.inbound.products_api import product_routes
from services.orders.inbound.wallet_events import CONSUMER_GROUP, WALLET_EVENTS_TOPIC, WalletEventsDoor
from services.orders.outbound.ledger_client import SERVICE_CONFIG, GrpcLedger
from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC, ORDERS_STREAM
from services.orders.outbound.passwords import Argon2Passwords
from services.orders.outbound.reads import SqlReads
from services.orders.outbound.store import CONSUMER, SqlIdentityStore, SqlStore
from services.orders.settings import OrdersSettings
from services.orders.use_cases.bootstrap_users import bootstrap_users
from services.runtime.background import Loop, background
from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Broker
from services.runtime.clock import Clock, SystemClock
from services.runtime.consumer_loop import ConsumerLoop, ConsumerMetrics
from services.runtime.database.migrations import migrate
from services.runtime.database.opening import open_database
from services.runtime.database.port import Database
from services.runtime.errors import UnavailableError
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_server import serving_grpc
from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_server import serving_http
from services.runtime.inbox import prune
from services.runtime.jwks import JwksClient
from services.runtime.jwt import JwtVerifier
from services.runtime.metrics import new_registry
from services.runtime.outbox_relay import OutboxRelay, RelayMetrics
from services.runtime.service_tokens import ServiceTokens
from tradeflow.orders.v1.identity_service_pb2 import DESCRIPTOR
from tradeflow.orders.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server

MIGRATIONS = "services.orders.migrations"
"""The package of the tables."""

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
    relay: OutboxRelay
    wallet_events: ConsumerLoop
    database: Database
    verifier: JwtVerifier
    health: Health
    registry: CollectorRegistry


@asynccontextmanager
async def running(settings: OrdersSettings, *, clock: Clock | None = None) -> AsyncIterator[RunningOrders]:
    """Run an orders process while the body runs.

    Raises:
        InvalidArgumentError: A URL's scheme isn't supported, or a bootstrap user makes no sense.
        OSError: An address can't be listened on.
    """
    async with AsyncExitStack() as stack:
        parts = await _put_together(settings, clock or SystemClock(), stack)
        await stack.enter_async_context(background(_loops(settings, parts), registry=parts.registry))
        grpc_target = await stack.enter_async_context(_grpc_door(settings, parts))
        http_url = await stack.enter_async_context(_http_door(settings, parts))
        stack.callback(parts.health.drain)
        yield RunningOrders(http_url=http_url, grpc_target=grpc_target)


async def _put_together(settings: OrdersSettings, clock: Clock, stack: AsyncExitStack) -> _Parts:
    registry, terms = new_registry(), settings.to_terms()
    database = await _opened_database(settings, clock, stack)
    broker = await _opened_broker(settings, stack)
    keys = await stack.enter_async_context(aclosing(JwksClient(settings.jwks_url)))
    relay = OutboxRelay(database, broker.producer(), ORDERS_STREAM, clock, metrics=RelayMetrics(registry))
    store = SqlStore(database, clock=clock, patience=terms.patience, on_events=relay.wake)
    identity = await _identity(settings, database, clock, stack)
    wallet_events = _wallet_events(broker, WalletEventsDoor(store=store, clock=clock), clock, registry)
    ledger = await _ledger(settings, clock, stack)
    return _Parts(
        commerce=Commerce(store=store, reads=SqlReads(database), ledger=ledger, clock=clock, terms=terms),
        identity=identity,
        relay=relay,
        wallet_events=wallet_events,
        database=database,
        verifier=JwtVerifier(keys, settings.issuer, AUDIENCE, clock),
        health=_health(database, keys, wallet_events),
        registry=registry,
    )


async def _opened_database(settings: OrdersSettings, clock: Clock, stack: AsyncExitStack) -> Database:
    database = open_database(settings.database_url)
    stack.push_async_callback(database.close)
    if settings.migrate_on_start:
        await migrate(database, MIGRATIONS, clock=clock)
    return database


async def _opened_broker(settings: OrdersSettings, stack: AsyncExitStack) -> Broker:
    broker = open_broker(settings.broker_url)
    stack.push_async_callback(broker.close)
    await broker.ensure_topics([ORDER_EVENTS_TOPIC, WALLET_EVENTS_TOPIC, f"{WALLET_EVENTS_TOPIC}{DEAD_LETTERS_SUFFIX}"])
    return broker


async def _ledger(settings: OrdersSettings, clock: Clock, stack: AsyncExitStack) -> GrpcLedger:
    secret = settings.client_secret.get_secret_value()
    tokens = await stack.enter_async_context(
        aclosing(ServiceTokens(settings.token_url, settings.client_id, secret, clock))
    )
    channel = open_channel(settings.ledger_grpc_target, service_config=SERVICE_CONFIG)
    stack.push_async_callback(channel.close)
    return GrpcLedger(channel, tokens, deadline_seconds=settings.ledger_deadline_seconds)


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


def _wallet_events(broker: Broker, door: WalletEventsDoor, clock: Clock, registry: CollectorRegistry) -> ConsumerLoop:
    return ConsumerLoop(
        broker.group_consumer(group=CONSUMER_GROUP, topics=[WALLET_EVENTS_TOPIC]),
        door.handle,
        broker.producer(),
        name=CONSUMER_GROUP,
        clock=clock,
        metrics=ConsumerMetrics(registry),
    )


def _loops(settings: OrdersSettings, parts: _Parts) -> Mapping[str, Loop]:
    commerce, identity = parts.commerce, parts.identity
    finishing = FinishingLoop(
        store=commerce.store,
        ledger=commerce.ledger,
        clock=commerce.clock,
        pause_seconds=settings.finish_every_seconds,
    )
    forgetting = ForgettingLoop(store=identity.store, clock=identity.clock, pause_seconds=TIDY_EVERY_SECONDS)
    return {
        "outbox_relay": parts.relay.run,
        "wallet_events": parts.wallet_events.run,
        "finish_orders": finishing.run,
        "forget_expired": forgetting.run,
        "prune_inbox": _pruning(parts.database, commerce.clock),
    }


def _pruning(database: Database, clock: Clock) -> Loop:
    async def prune_inbox() -> None:
        while True:
            await prune(database, CONSUMER, received_before=clock.now() - INBOX_RETENTION)
            await clock.sleep(TIDY_EVERY_SECONDS)

    return prune_inbox


@asynccontextmanager
async def _grpc_door(settings: OrdersSettings, parts: _Parts) -> AsyncIterator[str]:
    service = IdentityGrpcService(parts.identity, parts.verifier)
    register: Callable[[grpc.aio.Server], None] = lambda server: add_IdentityServiceServicer_to_server(service, server)  # noqa: E731 - one line says it
    name = DESCRIPTOR.services_by_name["IdentityService"].full_name
    async with serving_grpc(
        settings.grpc_host, settings.grpc_port, register=register, service_names=[name], registry=parts.registry
    ) as target:
        yield target


@asynccontextmanager
async def _http_door(settings: OrdersSettings, parts: _Parts) -> AsyncIterator[str]:
    app = create_http_app(
        title="TradeFlow orders",
        route_handlers=[*order_routes(parts.commerce), *product_routes(parts.commerce)],
        verifier=parts.verifier,
        health=parts.health,
        registry=parts.registry,
    )
    async with serving_http(app, settings.http_host, settings.http_port) as url:
        yield url


def _health(database: Database, keys: JwksClient, wallet_events: ConsumerLoop) -> Health:
    async def database_answers() -> None:
        async with database.snapshot() as connection:
            await connection.fetch("SELECT 1")

    async def wallet_events_flow() -> None:
        if not wallet_events.healthy:
            raise UnavailableError("Too many wallet events could not be handled; see the dead letters.")

    health = Health()
    health.add("database", database_answers)
    health.add("issuer", keys.check_ready)
    health.add("wallet_events", wallet_events_flow)
    return health
