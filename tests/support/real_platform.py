"""The whole platform as it runs in production: services as processes of their own on real servers.

    async def test_…(real_platform: RealPlatform) -> None:               # one replica each, on the run's shared servers
    async def test_…(breakable_platform: RealPlatform) -> None:          # the servers are the test's own: kill them
    with running_real_platform(parts, tmp_path / "data", replicas=2) …   # any other

Fixtures leave it running. `platform.services.by_name["ledger"]` is a process (`ledger-2` the second replica),
`platform.parts.kafka` a server; both have start, kill, stop, pause, resume, restart.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from services.embedded.data_folder import DataFolder
from tests.parts.server import Server
from tests.support.part_urls import PartUrls
from tests.support.real_parts import RealParts, started_private_parts
from tests.support.service_process import ServiceProcess
from tests.support.service_processes import IMPATIENT, ServiceProcesses, prepared_processes


@dataclass(frozen=True, slots=True, kw_only=True)
class RealPlatform:
    """A platform on real servers."""

    parts: RealParts
    urls: PartUrls
    services: ServiceProcesses

    @property
    def data(self) -> Path:
        """The folder of the secrets, the keys and what the processes complained of."""
        return self.services.data

    @property
    def folder(self) -> DataFolder:
        """The same, by its parts' names."""
        return self.services.folder

    @property
    def gateway_url(self) -> str:
        """Where the public API is: the address of all gateways."""
        return self.services.gateway_url

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each service's HTTP is, by the names that `tradeflow up --json` has for them."""
        return self.services.addresses

    def replica(self, service: str, number: int = 1) -> ServiceProcess:
        """Return one process."""
        return self.services.replicas[service][number - 1]

    def start(self) -> None:
        """Start all services, and wait for them."""
        self.services.start_all()

    def kill(self) -> None:
        """End all services without any warning; the servers stay."""
        self.services.kill_all()

    async def assert_invariants_hold(self) -> None:
        """Let `tradeflow verify` look at both databases and the topics, as an operator would."""
        await self.services.assert_invariants_hold()


@contextmanager
def running_real_platform(
    parts: RealParts,
    data: Path,
    *,
    replicas: int = 1,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[RealPlatform]:
    """Run the services on servers that run, in schemas and under topics of their own; none survives the body."""
    with (
        parts.prepared() as urls,
        prepared_processes(data, urls, replicas=replicas, settings=settings) as services,
    ):
        services.start_all()
        yield RealPlatform(parts=parts, urls=urls, services=services)


@pytest.fixture(scope="session")
def shared_parts(
    mysql_server: Server, kafka_server: Server, redis_server: Server, registry_server: Server
) -> RealParts:
    """Stand on the run's shared servers: never kill them."""
    return RealParts(
        ledger_mysql=mysql_server,
        orders_mysql=mysql_server,
        kafka=kafka_server,
        redis=redis_server,
        registry=registry_server,
        shared=True,
    )


@pytest.fixture
def real_platform(shared_parts: RealParts, tmp_path: Path) -> Iterator[RealPlatform]:
    """Run one replica of each service, impatient, on the run's shared servers."""
    with running_real_platform(shared_parts, tmp_path / "data", settings=IMPATIENT) as platform:
        yield platform


@pytest.fixture
def breakable_platform(private_server: Callable[..., Server], tmp_path: Path) -> Iterator[RealPlatform]:
    """Run one replica of each, impatient, on servers of the test's own, which may be killed; mark with `REAL_PARTS`."""
    with running_real_platform(
        started_private_parts(private_server), tmp_path / "data", settings=IMPATIENT
    ) as platform:
        yield platform
