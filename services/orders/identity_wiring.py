"""How users, their sessions, their new passwords and the gateway's door to them are put together, beside `wiring`."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from services.orders.inbound.identity_service import Identity, IdentityGrpcService
from services.orders.inbound.resetting_loop import ResettingLoop
from services.orders.metrics import ResetMetrics
from services.orders.outbound.passwords import Argon2Passwords
from services.orders.outbound.reset_sender import HttpResetSender
from services.orders.outbound.store import SqlIdentityStore
from services.orders.settings import OrdersSettings
from services.orders.use_cases.bootstrap_users import bootstrap_users
from services.orders.use_cases.forget_expired import ROWS_A_PASS_MAX, forget_expired
from services.runtime.background import Loop
from services.runtime.clock import Clock
from services.runtime.database.port import Database
from services.runtime.grpc_server import serving_grpc
from services.runtime.health import Health
from services.runtime.passes import repeat_passes
from services.runtime.tracing import SpanRecorder
from tradeflow.orders.v1.identity_service_pb2 import DESCRIPTOR
from tradeflow.orders.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server

SERVICE_NAME: Final[str] = DESCRIPTOR.services_by_name["IdentityService"].full_name
"""For health and reflection."""

FORGET_EXPIRED_EVERY_SECONDS: Final = 600.0
"""How often sessions, revocations and resets that have expired are deleted."""


async def open_identity(
    settings: OrdersSettings, stack: AsyncExitStack, *, database: Database, clock: Clock
) -> Identity:
    """Make the parts, and the users that the settings name; the stack closes what hashes passwords."""
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


async def open_resetting(
    settings: OrdersSettings, registry: CollectorRegistry, stack: AsyncExitStack, *, identity: Identity
) -> ResettingLoop:
    """Make the loop that hands tokens for new passwords to their delivery, if there is one; the stack closes that."""
    delivery = None
    if settings.password_reset_url is not None:
        secret = settings.to_password_reset_secret()
        sender = HttpResetSender(settings.password_reset_url, secret=secret, clock=identity.clock)
        delivery = await stack.enter_async_context(aclosing(sender))
    return ResettingLoop(store=identity.store, delivery=delivery, clock=identity.clock, metrics=ResetMetrics(registry))


def identity_loops(identity: Identity, resetting: ResettingLoop) -> Mapping[str, Loop]:
    """Make the loops."""
    forgetting = partial(
        repeat_passes,
        partial(forget_expired, store=identity.store, clock=identity.clock),
        full=ROWS_A_PASS_MAX,
        clock=identity.clock,
        pause_seconds=FORGET_EXPIRED_EVERY_SECONDS,
    )
    return {"forget_expired": forgetting, "reset_passwords": resetting.run}


def serving_identity(
    settings: OrdersSettings,
    service: IdentityGrpcService,
    *,
    health: Health,
    registry: CollectorRegistry,
    recorder: SpanRecorder | None,
) -> AbstractAsyncContextManager[str]:
    """Serve gRPC while the body runs, and yield the bound `host:port`."""
    return serving_grpc(
        settings.grpc_host,
        settings.grpc_port,
        register=partial(add_IdentityServiceServicer_to_server, service),
        service_names=[SERVICE_NAME],
        credentials=settings.server_credentials(),
        registry=registry,
        recorder=recorder,
        health=health,
    )
