"""What the ledger is made of: every part, in the order in which it starts; it stops in the opposite one.

doors      gRPC and HTTP: stop accepting first, and let calls under way end
loops      order events in, wallet events out, holds that run out
committer  drains what it was given
parts      the issuer's keys, broker, database
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry

from services.ledger.committer.committer import Committer, committing
from services.ledger.expiry import HoldExpiry
from services.ledger.inbound.authorisation import AUDIENCE
from services.ledger.inbound.grpc_service import LedgerGrpcService
from services.ledger.inbound.http_api import treasury_routes, wallet_routes
from services.ledger.inbound.order_events import GROUP, ORDER_EVENTS, OrderEventsHandler
from services.ledger.outbound.book_writing import stream_of
from services.ledger.outbound.wallet_event_encoding import WALLET_EVENTS_TOPIC
from services.ledger.queries.book import Book, book_head
from services.ledger.settings import LedgerSettings
from services.runtime.background import background
from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Broker
from services.runtime.clock import Clock, SystemClock
from services.runtime.consumer_loop import ConsumerLoop, ConsumerMetrics
from services.runtime.database.migrations import migrate
from services.runtime.database.opening import open_database
from services.runtime.database.port import Database
from services.runtime.errors import UnavailableError
from services.runtime.grpc_server import serving_grpc
from services.runtime.health import Health
from services.runtime.http_app import create_http_app
from services.runtime.http_server import serving_http
from services.runtime.jwks import JwksClient
from services.runtime.jwt import JwtVerifier
from services.runtime.metrics import new_registry
from services.runtime.outbox_relay import OutboxRelay, RelayMetrics
from tradeflow.ledger.v1 import ledger_service_pb2
from tradeflow.ledger.v1.ledger_service_pb2_grpc import add_LedgerServiceServicer_to_server

MIGRATIONS = "services.ledger.migrations"
"""Where the tables' steps are."""

TOPICS = tuple(
    f"{topic}{suffix}" for topic in (ORDER_EVENTS, WALLET_EVENTS_TOPIC) for suffix in ("", DEAD_LETTERS_SUFFIX)
)
"""Every topic that the ledger reads or writes."""

SERVICE_NAME: str = ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name
"""For health and reflection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningLedger:
    """A ledger at work: where it listens, and the book for whoever verifies it in the same process."""

    http_url: str
    grpc_target: str
    book: Book


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What everything stands on."""

    settings: LedgerSettings
    clock: Clock
    book: Book
    broker: Broker
    verifier: JwtVerifier
    health: Health
    registry: CollectorRegistry


@asynccontextmanager
async def running(settings: LedgerSettings, *, clock: Clock | None = None) -> AsyncIterator[RunningLedger]:
    """Run a ledger while the body runs.

    Raises:
        InvalidArgumentError: A URL's scheme has no adapter.
        OSError: A port is taken.
    """
    async with (
        _parts(settings, clock or SystemClock()) as parts,
        _committing(parts) as committer,
        _doors(parts, committer) as (http_url, grpc_target),
    ):
        try:
            yield RunningLedger(http_url=http_url, grpc_target=grpc_target, book=parts.book)
        finally:
            parts.health.drain()


@asynccontextmanager
async def _parts(settings: LedgerSettings, clock: Clock) -> AsyncIterator[_Parts]:
    async with AsyncExitStack() as stack:
        database = open_database(settings.database_url)
        stack.push_async_callback(database.close)
        broker = open_broker(settings.broker_url)
        stack.push_async_callback(broker.close)
        keys = JwksClient(settings.jwks_url)
        stack.push_async_callback(keys.aclose)
        await _prepare(settings, database, broker)
        book = Book(database=database, book_id=settings.book_id)
        health = Health()
        health.add("book", partial(_check_book, book))
        yield _Parts(
            settings=settings,
            clock=clock,
            book=book,
            broker=broker,
            verifier=JwtVerifier(keys, settings.issuer, AUDIENCE, clock),
            health=health,
            registry=new_registry(),
        )


async def _prepare(settings: LedgerSettings, database: Database, broker: Broker) -> None:
    if settings.migrate_on_start:
        await migrate(database, MIGRATIONS)
    await broker.ensure_topics(TOPICS)


@asynccontextmanager
async def _committing(parts: _Parts) -> AsyncIterator[Committer]:
    """Run the committer, and the loops that feed it and publish what it wrote."""
    relay = OutboxRelay(
        parts.book.database,
        parts.broker.producer(),
        stream_of(parts.book.book_id),
        parts.clock,
        metrics=RelayMetrics(parts.registry),
    )
    async with committing(
        parts.book.database,
        book_id=parts.book.book_id,
        clock=parts.clock,
        batch_commands_max=parts.settings.batch_commands_max,
        queue_commands_max=parts.settings.queue_commands_max,
        on_commit=relay.wake,
        registry=parts.registry,
    ) as committer:
        order_events = _order_events_loop(parts, committer)
        parts.health.add(ORDER_EVENTS, partial(_check_consumer, order_events))
        loops = {
            ORDER_EVENTS: order_events.run,
            WALLET_EVENTS_TOPIC: relay.run,
            "hold-expiry": HoldExpiry(committer=committer, book=parts.book, clock=parts.clock).run,
        }
        async with background(loops, registry=parts.registry):
            yield committer


def _order_events_loop(parts: _Parts, committer: Committer) -> ConsumerLoop:
    return ConsumerLoop(
        parts.broker.group_consumer(group=GROUP, topics=[ORDER_EVENTS]),
        OrderEventsHandler(committer).handle,
        parts.broker.producer(),
        name=f"{GROUP}:{ORDER_EVENTS}",
        clock=parts.clock,
        metrics=ConsumerMetrics(parts.registry),
    )


@asynccontextmanager
async def _doors(parts: _Parts, committer: Committer) -> AsyncIterator[tuple[str, str]]:
    """Serve HTTP and gRPC, and yield the URL and the target."""
    settings = parts.settings
    app = create_http_app(
        title="TradeFlow ledger",
        route_handlers=[*wallet_routes(parts.book), *treasury_routes(committer)],
        verifier=parts.verifier,
        health=parts.health,
        registry=parts.registry,
    )
    service = LedgerGrpcService(committer=committer, book=parts.book, verifier=parts.verifier, clock=parts.clock)
    async with (
        serving_http(app, settings.http_host, settings.http_port) as http_url,
        serving_grpc(
            settings.grpc_host,
            settings.grpc_port,
            register=partial(add_LedgerServiceServicer_to_server, service),
            service_names=[SERVICE_NAME],
            registry=parts.registry,
        ) as grpc_target,
    ):
        yield http_url, grpc_target


async def _check_book(book: Book) -> None:
    await book_head(book)


async def _check_consumer(loop: ConsumerLoop) -> None:
    if not loop.healthy:
        raise UnavailableError("Too many dead letters: the consumer stopped.", reason="consumer_stopped")
