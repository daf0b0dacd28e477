"""What the ledger is made of: every part, in the order in which it starts; it stops in the opposite one.

doors      gRPC and HTTP: stop accepting first, and let calls under way end
loops      order events in, wallet events out, housekeeping
committer  drains what it was given
parts      the issuer's keys, broker, database
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from prometheus_client import CollectorRegistry

from services.ledger.auditing.auditor import Auditor, AuditPace
from services.ledger.auditing.metrics import AuditMetrics
from services.ledger.committer.committer import Committer, committing
from services.ledger.committer.lease import BookLease
from services.ledger.housekeeping.loops import housekeeping_loops
from services.ledger.inbound.authorisation import AUDIENCE
from services.ledger.inbound.doorway import Doorway
from services.ledger.inbound.grpc_service import LedgerGrpcService
from services.ledger.inbound.http_routes import ledger_routes
from services.ledger.inbound.order_events import CONSUMER_NAME, GROUP, ORDER_EVENTS, OrderEventsHandler
from services.ledger.inbound.proof_api import proof_routes
from services.ledger.inbound.proof_service import SERVICE_NAME as PROOF_SERVICE_NAME
from services.ledger.inbound.proof_service import ProofGrpcService
from services.ledger.outbound.book_writing import stream_of
from services.ledger.outbound.event_contract import WALLET_EVENTS
from services.ledger.outbound.leading_replica import LeadingReplica
from services.ledger.outbound.wallet_event_encoding import WALLET_EVENTS_TOPIC, wallet_message_of
from services.ledger.proof.book_proofs import BookProofs
from services.ledger.proof.notary import Notary
from services.ledger.queries.book import Book, book_head
from services.ledger.settings import LedgerSettings
from services.money import register_assets
from services.runtime.background import background
from services.runtime.broker.opening import open_broker, require_topics
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Broker
from services.runtime.clock import Clock, SystemClock
from services.runtime.consumer_loop import ConsumerLoop, ConsumerMetrics
from services.runtime.database.migrations import prepare_schema
from services.runtime.database.port import Database
from services.runtime.database.schema_state import check_schema
from services.runtime.database_opening import open_database
from services.runtime.errors import UnavailableError
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_leader import to_leader
from services.runtime.grpc_server import serving_grpc
from services.runtime.health import Health, asked_rarely
from services.runtime.http_app import create_http_app
from services.runtime.http_server import serving_http
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
from services.runtime.span_export import recording_spans
from services.runtime.temporary_consumer import TemporaryConsumer
from services.runtime.tracing import SpanRecorder
from tradeflow.ledger.v1 import ledger_service_pb2
from tradeflow.ledger.v1.ledger_service_pb2_grpc import add_LedgerServiceServicer_to_server
from tradeflow.ledger.v1.proof_service_pb2_grpc import add_ProofServiceServicer_to_server

EVENT_LINGER_SECONDS = 0.02
"""How long a wallet's event waits for others before it is published: too short for anyone to see, and where single
calls follow each other it saves most of the relay's work, which they would share the machine with."""

MIGRATIONS = "services.ledger.migrations"
"""Where the tables' steps are."""

SCHEMA_OWNER = "ledger"
"""What `tradeflow migrate --service` calls this service."""

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
    codec: MessageCodec
    verifier: JwtVerifier
    health: Health
    registry: CollectorRegistry
    recorder: SpanRecorder | None


@asynccontextmanager
async def running(
    settings: LedgerSettings, *, clock: Clock | None = None, registry: CollectorRegistry | None = None
) -> AsyncIterator[RunningLedger]:
    """Run a ledger while the body runs.

    Args:
        settings: What it needs to know.
        clock: Where `now` comes from.
        registry: What `/metrics` shows; a new one, if it isn't given.

    Raises:
        InvalidArgumentError: A URL's scheme has no adapter.
        OSError: A port is taken.
    """
    register_assets(settings.assets)
    async with (
        _parts(settings, clock or SystemClock(), registry or new_registry("ledger")) as parts,
        _committing(parts) as committer,
        _leading_replica(parts, committer) as leader,
        _doors(parts, committer, leader) as (http_url, grpc_target),
    ):
        try:
            yield RunningLedger(http_url=http_url, grpc_target=grpc_target, book=parts.book)
        finally:
            await parts.health.drain(unready_seconds=settings.unready_seconds)


@asynccontextmanager
async def _parts(settings: LedgerSettings, clock: Clock, registry: CollectorRegistry) -> AsyncIterator[_Parts]:
    async with AsyncExitStack() as stack:
        recorder = stack.enter_context(
            recording_spans("ledger", settings.traces_url, sampled_ratio=settings.traces_sampled_ratio)
        )
        database = open_database(settings.database_url)
        stack.push_async_callback(database.close)
        broker = open_broker(settings.broker_url)
        stack.push_async_callback(broker.close)
        keys = JwksClient(settings.jwks_url)
        stack.push_async_callback(keys.aclose)
        codec = open_codec(settings.schema_registry_url, [WALLET_EVENTS], outer_name=broker.outer_name)
        stack.push_async_callback(codec.close)
        await _prepare(settings, database, broker)
        book = Book(database=database, book_id=settings.book_id)
        health = Health()
        health.add("book", partial(_check_book, book))
        health.add("schema", partial(check_schema, database, MIGRATIONS, service=SCHEMA_OWNER))
        health.add("schema_registry", codec.check_ready)
        health.add_hint("broker", asked_rarely(partial(broker.ensure_topics, TOPICS)))
        watch_database(database, registry)
        yield _Parts(
            settings=settings,
            clock=clock,
            book=book,
            broker=broker,
            codec=codec,
            verifier=JwtVerifier(keys, settings.issuer, AUDIENCE, clock),
            health=health,
            registry=registry,
            recorder=recorder,
        )


async def _prepare(settings: LedgerSettings, database: Database, broker: Broker) -> None:
    await prepare_schema(database, MIGRATIONS, service=SCHEMA_OWNER, migrate_on_start=settings.migrate_on_start)
    await require_topics(broker, TOPICS)


@asynccontextmanager
async def _committing(parts: _Parts) -> AsyncIterator[Committer]:
    """Run the committer, and the loops that feed it and publish what it wrote."""
    relay = OutboxRelay(
        parts.book.database,
        EncodingProducer(parts.broker.producer(), parts.codec),
        stream_of(parts.book.book_id),
        parts.clock,
        RelaySettings(
            retention=timedelta(days=parts.settings.event_retention_days), linger_seconds=EVENT_LINGER_SECONDS
        ),
        RelayMetrics(parts.registry),
        parts.recorder,
        wallet_message_of,
    )
    async with committing(
        parts.book.database,
        book_id=parts.book.book_id,
        clock=parts.clock,
        batch_commands_max=parts.settings.batch_commands_max,
        queue_commands_max=parts.settings.queue_commands_max,
        on_commit=relay.wake,
        registry=parts.registry,
        lease=BookLease(
            parts.book.database, parts.book.book_id, SystemClock(), lease_seconds=parts.settings.lease_seconds
        ),
    ) as committer:
        order_events = _order_events(parts, committer)
        parts.health.add_hint(ORDER_EVENTS, partial(_check_consumer, order_events))
        loops = {
            ORDER_EVENTS: committer.while_leading(order_events.run),
            WALLET_EVENTS_TOPIC: relay.run,
            "outbox_lag": OutboxLag(
                parts.book.database, stream_of(parts.book.book_id), parts.clock, parts.registry
            ).run,
            "event_loop": EventLoopWatch(parts.registry).run,
            "notary": committer.while_leading(
                Notary(parts.book, parts.clock, keys_folder=parts.settings.signing_keys_folder).run
            ),
            "audit": committer.while_leading(_auditor(parts).run),
            **housekeeping_loops(
                committer=committer,
                book=parts.book,
                clock=parts.clock,
                is_leader=lambda: committer.leader,
                retention=parts.settings.to_retention(),
                registry=parts.registry,
            ),
        }
        async with background(loops, registry=parts.registry, on_end=parts.health.note_ended):
            yield committer


def _auditor(parts: _Parts) -> Auditor:
    pace = AuditPace(load_ratio=parts.settings.audit_load_ratio, pause_seconds=parts.settings.audit_pause_seconds)
    return Auditor(parts.book, pace, AuditMetrics(parts.registry, book_id=parts.book.book_id))


def _order_events(parts: _Parts, committer: Committer) -> TemporaryConsumer:
    letters = partial(parts.broker.replaying_consumer, topics=[f"{ORDER_EVENTS}{DEAD_LETTERS_SUFFIX}"])
    return TemporaryConsumer(
        partial(parts.broker.group_consumer, group=GROUP, topics=[ORDER_EVENTS]),
        partial(
            ConsumerLoop,
            handle=OrderEventsHandler(committer).handle,
            parking=Parking(parts.broker.producer(), letters, consumer_name=CONSUMER_NAME),
            clock=parts.clock,
            metrics=ConsumerMetrics(parts.registry),
            recorder=parts.recorder,
        ),
    )


@asynccontextmanager
async def _leading_replica(parts: _Parts, committer: Committer) -> AsyncIterator[LeadingReplica | None]:
    """Reach the leader, where the replicas have a name."""
    target, credentials = parts.settings.replicas_grpc_target, parts.settings.channel_credentials()
    if target is None:
        yield None
        return
    async with open_channel(target, service_config=to_leader(SERVICE_NAME), credentials=credentials) as channel:
        yield LeadingReplica(channel, lambda: committer.stands_by, parts.registry)


@asynccontextmanager
async def _doors(parts: _Parts, committer: Committer, leader: LeadingReplica | None) -> AsyncIterator[tuple[str, str]]:
    """Serve HTTP and gRPC, and yield the URL and the target."""
    settings = parts.settings
    proofs = BookProofs(parts.book, parts.clock, keys_folder=settings.signing_keys_folder)
    doorway = Doorway(
        committer=committer,
        book=parts.book,
        verifier=parts.verifier,
        clock=parts.clock,
        leader=leader,
        shortfall_to_receivable=settings.refund_shortfall == "receivable",
    )
    app = create_http_app(
        title="TradeFlow ledger",
        route_handlers=[*ledger_routes(doorway), *proof_routes(proofs)],
        verifier=parts.verifier,
        health=parts.health,
        registry=parts.registry,
        recorder=parts.recorder,
    )
    service = LedgerGrpcService(doorway)
    async with (
        serving_http(app, settings.http_host, settings.http_port) as http_url,
        serving_grpc(
            settings.grpc_host,
            settings.grpc_port,
            register=partial(_register, service, ProofGrpcService(proofs, parts.verifier)),
            service_names=[SERVICE_NAME, PROOF_SERVICE_NAME],
            credentials=settings.server_credentials(),
            registry=parts.registry,
            recorder=parts.recorder,
            health=parts.health,
            leads=lambda: not committer.stands_by,
            on_stop=service.end_streams,
        ) as grpc_target,
    ):
        yield http_url, grpc_target


def _register(service: LedgerGrpcService, proof_service: ProofGrpcService, server: grpc.aio.Server) -> None:
    add_LedgerServiceServicer_to_server(service, server)
    add_ProofServiceServicer_to_server(proof_service, server)


async def _check_book(book: Book) -> None:
    await book_head(book)


async def _check_consumer(consumer: TemporaryConsumer) -> None:
    if not consumer.healthy:
        raise UnavailableError("Too many dead letters: the consumer stands still.", reason="consumer_stopped")
