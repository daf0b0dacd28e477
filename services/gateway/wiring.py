"""Puts the gateway together, starts it and stops it: the one place that knows all of its parts."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.middleware import DefineMiddleware
from prometheus_client import CollectorRegistry

from services.gateway.access_tokens import OWN_CLIENT_ID, OwnServiceTokens, TokenIssuer
from services.gateway.door import DoorVerifier
from services.gateway.id_tokens import IdTokenVerifier
from services.gateway.inbound.auth_api import auth_routes
from services.gateway.inbound.connection_door import ConnectionDoor
from services.gateway.inbound.console import ConsoleParts, console_routes
from services.gateway.inbound.deposits_api import deposit_routes
from services.gateway.inbound.exchange_api import exchange_routes
from services.gateway.inbound.external_sign_ins import ExternalSignIns
from services.gateway.inbound.jwks import jwks_routes
from services.gateway.inbound.operations_api import operations_routes
from services.gateway.inbound.password_api import password_routes
from services.gateway.inbound.proxied_api import proxied_routes
from services.gateway.inbound.proxy import Proxy, new_proxy_session
from services.gateway.inbound.public_api import describe_public_api
from services.gateway.inbound.rate_limits import RateLimits, RateLimitsMiddleware
from services.gateway.inbound.sign_ins import SignIns
from services.gateway.inbound.token_api import ClientRegistry, token_routes
from services.gateway.inbound.untrusted_forwarding import UntrustedForwarding
from services.gateway.inbound.wallet_events import TOPIC, WalletEventsReader
from services.gateway.inbound.wallet_socket import socket_routes
from services.gateway.inbound.wallet_stream import stream_routes
from services.gateway.keys import KeyRing
from services.gateway.metrics import GatewayMetrics, RedisMetrics
from services.gateway.outbound.identity_client import IdentityClient
from services.gateway.outbound.ledger_client import LedgerClient
from services.gateway.outbound.reached_issuers import ReachedIssuers, reach_issuers
from services.gateway.outbound.redis_connection import RedisConnection
from services.gateway.outbound.redis_rate_limiter import RedisRateLimiter
from services.gateway.outbound.redis_revocations import RedisRevocations
from services.gateway.outbound.redis_tickets import RedisTickets
from services.gateway.outbound.redis_wallet_history import RedisWalletHistory
from services.gateway.outbound.service_reports import HttpServiceReports, OwnState
from services.gateway.rate_limits_file import RateLimitsFile
from services.gateway.revocation import Revocations
from services.gateway.settings import GatewaySettings
from services.gateway.wallet_feed import WalletFeed
from services.gateway.wallet_session import SessionParts
from services.money import register_assets
from services.runtime.background import background
from services.runtime.broker.opening import open_broker, require_topics
from services.runtime.broker.port import Broker
from services.runtime.clock import Clock, SystemClock
from services.runtime.grpc_channel import open_channel
from services.runtime.health import Health, asked_rarely
from services.runtime.http_app import create_http_app
from services.runtime.http_probes import create_probes_app
from services.runtime.http_server import serving_http
from services.runtime.jwks import FETCH_PAUSE_SECONDS
from services.runtime.jwt import JwtVerifier
from services.runtime.metrics import new_registry
from services.runtime.metrics_event_loop import EventLoopWatch
from services.runtime.span_export import recording_spans
from services.runtime.tracing import SpanRecorder

DESCRIPTION = (
    "Orders paid from wallets on a double-entry ledger. What OpenAPI has no words for is in two pages of the "
    "repository: docs/webhooks.md, of what merchants are sent, and docs/wallet-events.md, of a wallet's live events by "
    "WebSocket (/ws/notifications) or as a stream."
)
"""Of the public API."""

PROBES_STOP_SECONDS_MAX = 1
"""How long the port of metrics may take to end, after all else has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningGateway:
    """A gateway that accepts calls."""

    http_url: str
    app: Litestar
    """What answers them, with all its routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What is made from the settings before anything runs."""

    settings: GatewaySettings
    clock: Clock
    registry: CollectorRegistry
    recorder: SpanRecorder | None
    metrics: GatewayMetrics
    health: Health
    keys: KeyRing
    issuer: TokenIssuer
    tokens: JwtVerifier
    redis: RedisConnection
    rate_limits: RateLimitsFile
    untrusted: UntrustedForwarding
    identities: IdentityClient
    issuers: ReachedIssuers
    external_sign_ins: ExternalSignIns
    revocations: Revocations
    feed: WalletFeed
    session: SessionParts
    proxy: Proxy
    reports: HttpServiceReports


@asynccontextmanager
async def running(
    settings: GatewaySettings, *, clock: Clock | None = None, registry: CollectorRegistry | None = None
) -> AsyncIterator[RunningGateway]:
    """Run the gateway while the body runs.

    At the end: connections for events are told to go elsewhere, calls under way finish, then loops and clients close.

    Args:
        settings: What it needs to know.
        clock: Where `now` comes from.
        registry: What `/metrics` shows; a new one, if it isn't given.

    Raises:
        KeysError: No key can sign.
        InvalidArgumentError: The broker's URL is of a kind that isn't supported.
        OSError: The port is taken.
    """
    register_assets(settings.assets)
    async with AsyncExitStack() as stack:
        broker = open_broker(settings.broker_url)
        stack.push_async_callback(broker.close)
        await require_topics(broker, [TOPIC])
        parts = await _made(settings, clock or SystemClock(), registry or new_registry("gateway"), stack)
        parts.health.add_hint("broker", asked_rarely(partial(broker.ensure_topics, [TOPIC])))
        reader = _reader(parts, broker)
        await reader.start()
        loops = {
            "keys": parts.keys.watch,
            "rate-limits": parts.rate_limits.watch,
            "wallet-events": reader.run,
            "event_loop": EventLoopWatch(parts.registry).run,
        }
        await stack.enter_async_context(background(loops, registry=parts.registry, on_end=parts.health.note_ended))
        app = _app(parts)
        await _serve_probes_apart(parts, stack)
        http_url = await stack.enter_async_context(serving_http(app, settings.http_host, settings.http_port))
        await parts.revocations.read_at_start()  # orders checks our token by the keys that are served from here
        try:
            yield RunningGateway(http_url=http_url, app=app)
        finally:
            await parts.health.drain(unready_seconds=settings.unready_seconds)
            await parts.feed.drain(timeout_seconds=settings.drain_seconds_max)


async def _serve_probes_apart(parts: _Parts, stack: AsyncExitStack) -> None:
    """Show metrics where strangers don't come; to the very end, since how a process stops is worth a look."""
    if parts.settings.metrics_port:
        probes = create_probes_app(parts.health, parts.registry)
        host, port = parts.settings.metrics_host, parts.settings.metrics_port
        await stack.enter_async_context(serving_http(probes, host, port, stop_seconds_max=PROBES_STOP_SECONDS_MAX))


async def _made(settings: GatewaySettings, clock: Clock, registry: CollectorRegistry, stack: AsyncExitStack) -> _Parts:
    """Make the parts; what has connections is closed by the stack."""
    recorder = stack.enter_context(
        recording_spans("gateway", settings.traces_url, sampled_ratio=settings.traces_sampled_ratio)
    )
    metrics = GatewayMetrics(registry)
    keys, issuer = _issuing(settings, clock)
    redis = RedisConnection(settings.redis_url, metrics=RedisMetrics(registry))
    stack.push_async_callback(redis.close)
    rate_limits = RateLimitsFile(settings.rate_limits_file, default=settings.to_rate_rules(), registry=registry)
    identities, ledger = _clients(settings, OwnServiceTokens(issuer, clock), stack)
    proxied = await stack.enter_async_context(new_proxy_session(seconds_max=settings.upstream_seconds_max))
    asking = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    revocations = _revocations(settings, identities, redis, clock)
    feed = WalletFeed(
        queue_events_max=settings.connection_queue_events_max,
        connections_max=settings.connections_max,
        connections_per_wallet_max=settings.connections_per_wallet_max,
    )
    health = _health(settings, redis, keys, rate_limits)
    untrusted = UntrustedForwarding(settings.trusted_proxies, clock)
    health.add_hint("trusted_proxies", untrusted.check)
    issuers = await reach_issuers(settings.external_issuers, health=health, stack=stack)
    return _Parts(
        settings=settings,
        clock=clock,
        registry=registry,
        recorder=recorder,
        metrics=metrics,
        health=health,
        keys=keys,
        issuer=issuer,
        tokens=JwtVerifier(keys, settings.issuer, OWN_CLIENT_ID, clock),
        redis=redis,
        rate_limits=rate_limits,
        untrusted=untrusted,
        identities=identities,
        issuers=issuers,
        external_sign_ins=ExternalSignIns(IdTokenVerifier(issuers.trusted, clock), identities, revocations),
        revocations=revocations,
        feed=feed,
        session=SessionParts(
            feed=feed,
            history=RedisWalletHistory(redis),
            ledger=ledger,
            clock=clock,
            is_revoked=revocations.is_revoked,
            heartbeat_seconds=settings.heartbeat_seconds,
        ),
        proxy=Proxy(
            proxied,
            seconds_max=settings.upstream_seconds_max,
            trusted_proxies=settings.trusted_proxies,
            metrics=metrics,
        ),
        reports=HttpServiceReports(
            asking,
            OwnState(health=health, registry=registry),
            {"orders": settings.orders_http_url, "ledger": settings.ledger_http_url},
        ),
    )


def _issuing(settings: GatewaySettings, clock: Clock) -> tuple[KeyRing, TokenIssuer]:
    keys = KeyRing(
        settings.keys_folder,
        reload_seconds=settings.keys_reload_seconds,
        # A verifier's copy, a slower mount, and a verifier that looked for another key a moment ago.
        announce_seconds=settings.jwks_max_age_seconds + settings.keys_mount_seconds_max + FETCH_PAUSE_SECONDS,
        clock=clock,
    )
    issuer = TokenIssuer(
        keys,
        issuer=settings.issuer,
        clock=clock,
        user_token_seconds=settings.access_token_seconds,
        service_token_seconds=settings.service_token_seconds,
    )
    return keys, issuer


def _clients(
    settings: GatewaySettings, tokens: OwnServiceTokens, stack: AsyncExitStack
) -> tuple[IdentityClient, LedgerClient]:
    credentials = settings.channel_credentials()
    orders_channel = open_channel(settings.orders_grpc_target, credentials=credentials)
    ledger_channel = open_channel(settings.ledger_grpc_target, credentials=credentials)
    stack.push_async_callback(orders_channel.close)
    stack.push_async_callback(ledger_channel.close)
    identities = IdentityClient(orders_channel, tokens, call_seconds_max=settings.call_seconds_max)
    return identities, LedgerClient(ledger_channel, tokens, call_seconds_max=settings.call_seconds_max)


def _revocations(
    settings: GatewaySettings, identities: IdentityClient, redis: RedisConnection, clock: Clock
) -> Revocations:
    return Revocations(
        durable=identities,
        cache=RedisRevocations(redis, clock),
        clock=clock,
        failure_mode=settings.revocation_failure_mode,
        user_token_seconds=settings.access_token_seconds,
    )


def _health(settings: GatewaySettings, redis: RedisConnection, keys: KeyRing, rate_limits: RateLimitsFile) -> Health:
    """Ask for Redis only where the gateway can't do without it: else its loss would take all replicas out."""

    async def check_redis_if_indispensable() -> None:
        if "closed" in {rate_limits.current.failure_mode, settings.revocation_failure_mode}:
            await redis.check_ready()

    health = Health()
    health.add_hint("redis", redis.check_ready)
    health.add_hint("keys", keys.check)
    health.add_hint("rate_limits", rate_limits.check)
    health.add("redis", check_redis_if_indispensable)
    return health


def _reader(parts: _Parts, broker: Broker) -> WalletEventsReader:
    return WalletEventsReader(
        broker,
        feed=parts.feed,
        history=parts.session.history,
        clock=parts.clock,
        metrics=parts.metrics,
        recorder=parts.recorder,
    )


def _app(parts: _Parts) -> Litestar:
    settings = parts.settings
    verifier = DoorVerifier(parts.tokens, parts.revocations, parts.clock)
    tickets = RedisTickets(parts.redis)
    limits = RateLimits(RedisRateLimiter(parts.redis), lambda: parts.rate_limits.current, metrics=parts.metrics)
    sign_ins = SignIns(
        parts.identities,
        limits,
        network_failures_max=settings.sign_in_network_failures_max,
        account_failures_max=settings.sign_in_account_failures_max,
        trusted_proxies=settings.trusted_proxies,
    )
    door = ConnectionDoor(verifier=verifier, tickets=tickets, limits=limits, trusted_proxies=settings.trusted_proxies)
    count_before_authentication = partial(_count_before_authentication, parts, limits)
    app = create_http_app(
        title="TradeFlow",
        description=DESCRIPTION,
        route_handlers=[
            *auth_routes(
                identities=parts.identities,
                sign_ins=sign_ins,
                issuer=parts.issuer,
                revocations=parts.revocations,
                tickets=tickets,
                ticket_seconds=settings.ticket_seconds,
            ),
            *exchange_routes(sign_ins=parts.external_sign_ins, issuer=parts.issuer),
            *password_routes(identities=parts.identities, revocations=parts.revocations, limits=limits),
            *token_routes(issuer=parts.issuer, clients=ClientRegistry(settings.clients, settings.client_audiences)),
            *jwks_routes(keys=parts.keys, issuer=settings.issuer, max_age_seconds=settings.jwks_max_age_seconds),
            *deposit_routes(proxy=parts.proxy, identities=parts.identities, ledger_url=settings.ledger_http_url),
            *proxied_routes(
                proxy=parts.proxy,
                orders_url=settings.orders_http_url,
                ledger_url=settings.ledger_http_url,
            ),
            *stream_routes(parts=parts.session, door=door, metrics=parts.metrics),
            *socket_routes(parts=parts.session, door=door, metrics=parts.metrics),
            *operations_routes(reports=parts.reports, keys=parts.keys, clock=parts.clock),
            *console_routes(_console_parts(parts, verifier, sign_ins)),
        ],
        verifier=verifier,
        health=parts.health,
        registry=parts.registry,
        recorder=parts.recorder,
        body_bytes_max=settings.body_bytes_max,
        trusts_budgets=False,
        probes_apart=settings.metrics_port != 0,
        on_app_init=[count_before_authentication],
    )
    describe_public_api(app)
    return app


def _count_before_authentication(parts: _Parts, limits: RateLimits, config: AppConfig) -> AppConfig:
    counting = DefineMiddleware(
        RateLimitsMiddleware,
        limits=limits,
        tokens=parts.tokens,
        trusted_proxies=parts.settings.trusted_proxies,
        untrusted=parts.untrusted,
    )
    config.middleware.insert(0, counting)
    return config


def _console_parts(parts: _Parts, verifier: DoorVerifier, sign_ins: SignIns) -> ConsoleParts:
    settings = parts.settings
    return ConsoleParts(
        identities=parts.identities,
        sign_ins=sign_ins,
        issuer=parts.issuer,
        revocations=parts.revocations,
        tokens=verifier,
        proxy=parts.proxy,
        ledger_url=settings.ledger_http_url,
        trusted_proxies=settings.trusted_proxies,
        external_issuers=settings.external_issuers,
        codes=parts.issuers.codes,
        external_sign_ins=parts.external_sign_ins,
        demo_top_ups=settings.demo_top_ups,
        trace_url=settings.console_trace_url,
    )
