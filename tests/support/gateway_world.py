"""A running gateway between stand-ins: Redis, a broker file, orders, the ledger, all on real sockets."""

import functools
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from services.gateway.access_tokens import TokenIssuer
from services.gateway.keys import KeyRing, generate_jwk
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import RunningGateway, running
from services.runtime.broker.port import Message
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.clock import Clock, SystemClock
from services.runtime.grpc_server import serving_grpc
from services.runtime.jwt import JwtVerifier
from tests.support.http_upstream import HttpUpstream, serving_upstream
from tests.support.identity_stand_in import IdentityStandIn
from tests.support.ledger_stand_in import SERVICE_NAME, LedgerStandIn
from tests.support.redis import FakeRedisServer, serving_redis
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent
from tradeflow.orders.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server

ISSUER = "https://tradeflow.test"
ORDERS_SECRET = "the orders service's secret"
TOPIC = "wallet-events"


@functools.cache
def signing_jwk(name: str = "first") -> dict[str, Any]:
    """Make a private key once a run and name: RSA keys take long to make."""
    return generate_jwk(made_at_seconds=1_700_000_000 + len(name))


def write_keys(folder: Path, *jwks: dict[str, Any], file_name: str = "keys.json") -> None:
    """Write a key file as an operator does: whole or not at all."""
    folder.mkdir(exist_ok=True)
    draft = folder / f".{file_name}"
    draft.write_bytes(msgspec.json.encode({"keys": jwks}))
    os.replace(draft, folder / file_name)  # noqa: PTH105 - the point is that it is atomic


@dataclass(slots=True, kw_only=True)
class GatewayWorld:
    """One gateway and what it talks to; more replicas of it can be started."""

    settings: GatewaySettings
    clock: Clock
    gateway: RunningGateway
    redis: FakeRedisServer
    broker: SqliteBroker
    identity: IdentityStandIn
    ledger: LedgerStandIn
    orders_http: HttpUpstream
    ledger_http: HttpUpstream
    keys: KeyRing
    http: httpx.AsyncClient
    wallet_id: str = field(default_factory=lambda: str(uuid4()))
    """Some user's."""

    def token(self, user_id: str | None = None, *, roles: tuple[str, ...] = ("buyer",), seconds: int = 600) -> str:
        """Issue a token as the gateway does, for its own user by default."""
        issuer = TokenIssuer(
            self.keys,
            issuer=ISSUER,
            clock=self.clock,
            user_token_seconds=seconds,
            service_token_seconds=300,
        )
        return issuer.user_token(user_id=user_id or self.wallet_id, roles=roles).token

    def bearer(self, token: str | None = None) -> dict[str, str]:
        """Build the header."""
        return {"Authorization": f"Bearer {token or self.token()}"}

    async def publish(self, *events: WalletEvent) -> None:
        """Publish events as the ledger's relay does."""
        messages = [
            Message(topic=TOPIC, key=event.wallet_id.encode(), value=event.SerializeToString()) for event in events
        ]
        await self.broker.producer().publish(messages)

    async def happen(self, count: int = 1) -> list[WalletEvent]:
        """Let the wallet have events: recorded and published."""
        events = self.ledger.record(self.wallet_id, count)
        await self.publish(*events)
        return events

    def connect(
        self,
        query: str = "",
        *,
        token: str | None = None,
        gateway: RunningGateway | None = None,
        with_token: bool = True,
        **options: Any,
    ) -> connect:
        """Open a WebSocket."""
        base = (gateway or self.gateway).http_url.replace("http://", "ws://")
        headers = self.bearer(token) if with_token else {}
        return connect(f"{base}/ws/notifications{query}", additional_headers=headers, proxy=None, **options)

    @asynccontextmanager
    async def another_gateway(self, **changes: Any) -> AsyncIterator[RunningGateway]:
        """Start another replica."""
        async with running(self.settings.model_copy(update=changes), clock=self.clock) as gateway:
            yield gateway


async def message_of(socket: ClientConnection) -> dict[str, Any]:
    """Read one message."""
    message: dict[str, Any] = msgspec.json.decode(await socket.recv())
    return message


async def sequences_of(socket: ClientConnection, count: int) -> list[int]:
    """Read events, and nothing but events, and return their sequences."""
    messages = [await message_of(socket) for _ in range(count)]
    assert {message["type"] for message in messages} <= {"event"}, messages
    return [message["event"]["sequence"] for message in messages]


@asynccontextmanager
async def gateway_world(folder: Path, *, clock: Clock | None = None, **changes: Any) -> AsyncIterator[GatewayWorld]:
    """Start everything; `changes` are settings of the gateway."""
    clock = clock or SystemClock()
    write_keys(folder / "keys", signing_jwk())
    keys = KeyRing(folder / "keys")
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(serving_redis())
        broker = SqliteBroker(folder / "broker.db")
        stack.push_async_callback(broker.close)
        await broker.ensure_topics([TOPIC])
        identity = IdentityStandIn(JwtVerifier(keys, ISSUER, "orders", clock), clock)
        ledger = LedgerStandIn(JwtVerifier(keys, ISSUER, "ledger", clock))
        orders_target = await stack.enter_async_context(
            serving_grpc(
                "127.0.0.1",
                0,
                register=lambda server: add_IdentityServiceServicer_to_server(identity, server),
                service_names=["tradeflow.orders.v1.IdentityService"],
                stop_seconds_max=0.1,
            )
        )
        ledger_target = await stack.enter_async_context(
            serving_grpc(
                "127.0.0.1",
                0,
                register=ledger.register,
                service_names=[SERVICE_NAME],
                stop_seconds_max=0.1,
            )
        )
        orders_http = await stack.enter_async_context(serving_upstream())
        ledger_http = await stack.enter_async_context(serving_upstream())
        settings = GatewaySettings.model_validate(
            {
                "broker_url": f"sqlite:///{folder}/broker.db",
                "redis_url": redis.url,
                "issuer": ISSUER,
                "keys_folder": folder / "keys",
                "orders_http_url": orders_http.url,
                "ledger_http_url": ledger_http.url,
                "orders_grpc_target": orders_target,
                "ledger_grpc_target": ledger_target,
                "clients": {"orders": hashlib.sha256(ORDERS_SECRET.encode()).hexdigest()},
                "http_port": 0,
                "drain_seconds_max": 1.0,
                "keys_reload_seconds": 0.05,
                **changes,
            }
        )
        gateway = await stack.enter_async_context(running(settings, clock=clock))
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=gateway.http_url, trust_env=False, timeout=10.0)
        )
        yield GatewayWorld(
            settings=settings,
            clock=clock,
            gateway=gateway,
            redis=redis,
            broker=broker,
            identity=identity,
            ledger=ledger,
            orders_http=orders_http,
            ledger_http=ledger_http,
            keys=keys,
            http=http,
        )
