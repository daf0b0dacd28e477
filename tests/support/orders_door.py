"""The IdentityService of a running orders process, and whoever calls it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from pydantic import SecretStr

from services.orders.domain.user import Role
from services.orders.settings import BootstrapUserSetting, OrdersSettings
from services.orders.wiring import running
from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_errors import error_of
from tests.support.issuer import running_issuer
from tradeflow.orders.v1.identity_service_pb2_grpc import IdentityServiceStub

PASSWORD = "correct horse battery"


@dataclass(kw_only=True)
class Caller:
    """Calls as the service whose token it has."""

    stub: Any
    token: str

    async def __call__(self, method: str, request: object) -> Any:
        """Call, and raise what the service raised."""
        try:
            return await getattr(self.stub, method)(request, metadata=call_metadata(self.token), timeout=10)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error


@asynccontextmanager
async def open_door(folder: Path, **changes: Any) -> AsyncIterator[Caller]:
    """Start orders on a folder's files, with one user, and call it as the gateway; `changes` are settings."""
    async with running_issuer() as issuer:
        settings = OrdersSettings.model_validate(
            {
                "database_url": f"sqlite:///{folder}/orders.db",
                "broker_url": f"sqlite:///{folder}/broker.db",
                "issuer": issuer.issuer,
                "jwks_url": issuer.jwks_url,
                "ledger_grpc_target": "127.0.0.1:1",
                "token_url": issuer.token_url,
                "client_secret": SecretStr("orders' own secret"),
                "http_port": 0,
                "grpc_port": 0,
                "password_memory_kibibytes": 8,
                "password_passes": 1,
                "bootstrap_users": (
                    BootstrapUserSetting(
                        email="till@example.org", password=SecretStr(PASSWORD), roles=frozenset({Role.TREASURY})
                    ),
                ),
                **changes,
            }
        )
        async with running(settings) as orders, open_channel(orders.grpc_target) as channel:
            yield Caller(stub=IdentityServiceStub(channel), token=issuer.service_token("gateway", "orders"))
