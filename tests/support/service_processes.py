"""The three services as processes of their own, with any number of replicas, each of which can be killed."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

from services.embedded.data_folder import OPERATOR_EMAIL, TREASURY_EMAIL, DataFolder
from services.embedded.service_settings import ISSUER, sha256_of
from services.gateway.keys import ensure_keys
from services.ledger.proof.key_folder import ensure_signing_keys
from tests.parts.home import HOST, free_port
from tests.support.part_urls import PartUrls
from tests.support.platform import NO_RATE_LIMITS
from tests.support.service_address import service_address
from tests.support.service_process import ServiceProcess
from tests.support.verifying import Checked, verify

SERVICES = ("ledger", "orders", "gateway")
"""Each is `python -m services.NAME`."""

DOORS: Mapping[str, tuple[str, ...]] = {
    "ledger": ("HTTP_PORT", "GRPC_PORT"),
    "orders": ("HTTP_PORT", "GRPC_PORT"),
    "gateway": ("HTTP_PORT",),
}
"""The settings of each service that say where it listens."""

IMPATIENT = {"TRADEFLOW_ORDERS_PATIENCE_SECONDS": "1", "TRADEFLOW_ORDERS_ORDER_LIFETIME_SECONDS": "8"}
"""What a crash left behind is finished, or given up, within seconds."""


class ServiceProcesses:
    """All replicas of all services; keys, secrets and what the processes complain of lie in one data folder."""

    def __init__(
        self, data: Path, urls: PartUrls, *, replicas: int = 1, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Prepare the folder, keys, secrets and addresses; `settings` are added environment variables."""
        self.data = data
        self.urls = urls
        self.folder = DataFolder(data)
        self.folder.prepare()
        ensure_keys(self.folder.keys)
        ensure_signing_keys(self.folder.ledger_keys)
        self._ports = {
            (service, door): [free_port() for _ in range(replicas)] for service in SERVICES for door in DOORS[service]
        }
        self.shared_ports: dict[tuple[str, str], int] = {}
        if replicas > 1:
            self.shared_ports = {(service, "HTTP_PORT"): free_port() for service in SERVICES}
        environment = {**NO_RATE_LIMITS, **self._settings(), **settings}
        self.replicas: dict[str, Sequence[ServiceProcess]] = {
            service: [self._replica(service, number, environment) for number in range(replicas)] for service in SERVICES
        }
        self.by_name = {process.name: process for group in self.replicas.values() for process in group}

    @property
    def gateway_url(self) -> str:
        """Where the public API is: the address of all gateways."""
        return self.http_url("gateway")

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each service's HTTP is, by the names that `tradeflow up --json` has for them."""
        return {f"{service}_url": self.http_url(service) for service in SERVICES}

    def http_url(self, service: str) -> str:
        """Name the address of all replicas of a service."""
        ports = self.http_ports(service)
        return f"http://{HOST}:{self.shared_ports.get((service, 'HTTP_PORT'), ports[0])}"

    def http_ports(self, service: str) -> Sequence[int]:
        """Name the HTTP port of each replica of a service."""
        return self._ports[service, "HTTP_PORT"]

    def grpc_ports(self, service: str) -> Sequence[int]:
        """Name the gRPC port of each replica of a service."""
        return self._ports[service, "GRPC_PORT"]

    def replica_url(self, service: str, number: int) -> str:
        """Name the HTTP address of one replica, the first of which has the number 1."""
        return f"http://{HOST}:{self.http_ports(service)[number - 1]}"

    async def start(self) -> None:
        """Start all replicas at once, and wait for them."""
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in self.by_name.values()))

    def start_all(self) -> None:
        """Start all replicas at once, and wait for them, where there is no event loop."""
        for process in self.by_name.values():
            process.begin()
        for process in self.by_name.values():
            process.wait_until_started()

    def stop_all(self) -> None:
        """Ask all replicas to end, one after the other: who is asked last still has the others."""
        for service in reversed(SERVICES):
            for process in self.replicas[service]:
                process.stop()

    def kill_all(self) -> None:
        """End all replicas without any warning."""
        for process in self.by_name.values():
            process.kill()

    async def assert_invariants_hold(self) -> Checked:
        """Let `tradeflow verify` look at both databases and the topics, and return what it looked at."""
        return await asyncio.to_thread(verify, self.urls)

    def _replica(self, service: str, number: int, environment: Mapping[str, str]) -> ServiceProcess:
        name = service if number == 0 else f"{service}-{number + 1}"
        doors = {
            f"TRADEFLOW_{service.upper()}_{door}": str(self._ports[service, door][number]) for door in DOORS[service]
        }
        return ServiceProcess(name, service, {**environment, **doors}, self.data / f"{name}.stderr")

    def _grpc_target(self, service: str) -> str:
        """Name all replicas, as a headless name does; a call goes to one that is there."""
        ports = self.grpc_ports(service)
        return f"ipv4:{','.join(f'{HOST}:{port}' for port in ports)}"

    def _settings(self) -> dict[str, str]:
        """Give each service what it asks for, as an administrator would."""
        secrets = self.folder.secrets()
        jwks_url = f"{self.gateway_url}/.well-known/jwks.json"
        staff = [
            {"email": TREASURY_EMAIL, "password": secrets.treasury_password, "roles": ["treasury"]},
            {"email": OPERATOR_EMAIL, "password": secrets.operator_password, "roles": ["operator"]},
        ]
        common = {"BROKER_URL": self.urls.broker, "ISSUER": ISSUER, "LOG_LEVEL": "WARNING"}
        if self.urls.schema_registry is not None:
            common["SCHEMA_REGISTRY_URL"] = self.urls.schema_registry
        settings = {
            "LEDGER": {
                "DATABASE_URL": self.urls.ledger_database,
                "JWKS_URL": jwks_url,
                "SIGNING_KEYS_FOLDER": str(self.folder.ledger_keys),
                "REPLICAS_GRPC_TARGET": self._grpc_target("ledger"),
            },
            "ORDERS": {
                "DATABASE_URL": self.urls.orders_database,
                "JWKS_URL": jwks_url,
                "TOKEN_URL": f"{self.gateway_url}/oauth/token",
                "CLIENT_SECRET": secrets.orders_client_secret,
                "LEDGER_GRPC_TARGET": self._grpc_target("ledger"),
                "BOOTSTRAP_USERS": json.dumps(staff),
            },
            "GATEWAY": {
                "REDIS_URL": self.urls.redis,
                "KEYS_FOLDER": str(self.folder.keys),
                "ORDERS_HTTP_URL": self.http_url("orders"),
                "LEDGER_HTTP_URL": self.http_url("ledger"),
                "ORDERS_GRPC_TARGET": self._grpc_target("orders"),
                "LEDGER_GRPC_TARGET": self._grpc_target("ledger"),
                "CLIENTS": json.dumps({"orders": sha256_of(secrets.orders_client_secret)}),
            },
        }
        return {
            f"TRADEFLOW_{service}_{name}": value
            for service, own in settings.items()
            for name, value in {**common, **own}.items()
        }


@contextmanager
def prepared_processes(
    data: Path, urls: PartUrls, *, replicas: int = 1, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[ServiceProcesses]:
    """Prepare the services; the body starts and kills them at will, and none survives it."""
    processes = ServiceProcesses(data, urls, replicas=replicas, settings=settings)
    with ExitStack() as stack:
        stack.callback(processes.kill_all)
        for (service, _), port in processes.shared_ports.items():
            stack.enter_context(service_address(port, processes.http_ports(service)))
        yield processes


@contextmanager
def service_processes(
    data: Path,
    redis_url: str,
    databases: Mapping[str, str] = MappingProxyType({}),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[ServiceProcesses]:
    """Prepare impatient services on a data folder's own files, but for the `databases` that are elsewhere."""
    urls = PartUrls.embedded(DataFolder(data), redis_url, databases)
    with prepared_processes(data, urls, settings={**IMPATIENT, **settings}) as processes:
        yield processes
