"""Gateways as processes of their own, each with its own key folder, before stand-ins for who is behind them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.runtime.clock import SystemClock
from services.runtime.grpc_server import serving_grpc
from services.runtime.jwks import JwksClient
from services.runtime.jwt import JwtVerifier
from tests.operator.gateways import own_address
from tests.parts.home import free_port
from tests.support.gateway_world import ISSUER
from tests.support.http_upstream import serving_upstream
from tests.support.identity_stand_in import IdentityStandIn
from tests.support.platform import NO_RATE_LIMITS
from tests.support.service_process import ServiceProcess
from tradeflow.orders.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayProcesses:
    """Where they are, and who knows the users."""

    host: str
    ports: Sequence[int]
    identity: IdentityStandIn
    processes: Sequence[ServiceProcess]

    @property
    def urls(self) -> list[str]:
        """Name each gateway's address."""
        return [f"http://{self.host}:{port}" for port in self.ports]

    def errors(self) -> str:
        """Return all that they logged."""
        return "\n".join(process.errors_file.read_text() for process in self.processes)


@asynccontextmanager
async def gateway_processes(
    folder: Path, redis_url: str, key_folders: Sequence[Path], settings: Mapping[str, str], *, pause_seconds: float
) -> AsyncIterator[GatewayProcesses]:
    """Run a gateway for each key folder; orders believes their public keys, and looks for new ones after a pause."""
    host, ports = own_address(), [free_port() for _ in key_folders]
    async with AsyncExitStack() as stack:
        keys = JwksClient(f"http://{host}:{ports[0]}/.well-known/jwks.json", pause_seconds=pause_seconds)
        stack.push_async_callback(keys.aclose)
        clock = SystemClock()
        identity = IdentityStandIn(JwtVerifier(keys, ISSUER, "orders", clock), clock)
        target = await stack.enter_async_context(
            serving_grpc(
                "127.0.0.1",
                0,
                register=lambda server: add_IdentityServiceServicer_to_server(identity, server),
                service_names=["tradeflow.orders.v1.IdentityService"],
                stop_seconds_max=0.1,
            )
        )
        upstream = await stack.enter_async_context(serving_upstream())
        common = {
            "BROKER_URL": f"sqlite:///{folder}/broker.db",
            "REDIS_URL": redis_url,
            "ISSUER": ISSUER,
            "ORDERS_HTTP_URL": upstream.url,
            "LEDGER_HTTP_URL": upstream.url,
            "ORDERS_GRPC_TARGET": target,
            "LEDGER_GRPC_TARGET": target,  # nobody asks for a wallet's events
            "CLIENTS": "{}",
            "HTTP_HOST": host,
            **settings,
        }
        processes = []
        for number, (key_folder, port) in enumerate(zip(key_folders, ports, strict=True), start=1):
            own = {**common, "KEYS_FOLDER": str(key_folder), "HTTP_PORT": str(port)}
            environment = {f"TRADEFLOW_GATEWAY_{name}": value for name, value in own.items()}
            name = f"gateway-{number}"
            process = ServiceProcess(name, "gateway", {**NO_RATE_LIMITS, **environment}, folder / f"{name}.stderr")
            stack.callback(process.kill)
            process.begin()
            processes.append(process)
        for process in processes:
            process.wait_until_started()
        yield GatewayProcesses(host=host, ports=ports, identity=identity, processes=processes)
