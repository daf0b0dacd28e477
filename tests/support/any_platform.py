"""One platform for tests that ask the same of both: the embedded one, and services on real servers."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import pytest

from services.embedded.data_folder import DataFolder
from tests.support.platform import platform_process
from tests.support.real_parts import REAL_PARTS, RealParts
from tests.support.real_platform import running_real_platform
from tests.support.redis import running_redis
from tests.support.service_processes import IMPATIENT, ServiceProcesses, prepared_processes, service_processes

EMBEDDED, REAL = "embedded", "real"

BOTH_PLATFORMS = [EMBEDDED, pytest.param(REAL, marks=[*REAL_PARTS, pytest.mark.timeout(600)])]
"""Parameters of a fixture; a real one's time includes the start of servers, on a busy machine."""


class AnyPlatform(Protocol):
    """What both can do."""

    @property
    def data(self) -> Path:
        """The folder of the secrets."""
        ...

    @property
    def folder(self) -> DataFolder:
        """The same, by its parts' names."""
        ...

    @property
    def gateway_url(self) -> str:
        """Where the public API is."""
        ...

    @property
    def addresses(self) -> Mapping[str, Any]:
        """Where each service's HTTP is: `orders_url`, `ledger_url`, `gateway_url`."""
        ...

    def start(self) -> None:
        """Start all services, and wait for them."""
        ...

    def kill(self) -> None:
        """End all services without any warning; what is durable stays."""
        ...

    async def assert_invariants_hold(self) -> None:
        """Check all invariants."""
        ...


class RunPlatform(Protocol):
    """Runs a platform on a folder while the body runs; `settings` are added environment variables."""

    def __call__(self, data: Path, settings: Mapping[str, str] = ...) -> AbstractContextManager[AnyPlatform]:
        """Run it."""
        ...


@pytest.fixture(scope="module", params=BOTH_PLATFORMS)
def run_platform(request: pytest.FixtureRequest) -> RunPlatform:
    """Run whichever platform it is the turn of."""
    if request.param == EMBEDDED:
        return platform_process
    parts: RealParts = request.getfixturevalue("shared_parts")

    def run_real(data: Path, settings: Mapping[str, str] = MappingProxyType({})) -> AbstractContextManager[AnyPlatform]:
        return running_real_platform(parts, data, settings=settings)

    return run_real


class PrepareServices(Protocol):
    """Prepares the services' processes on a folder: the body starts and kills them."""

    def __call__(self, data: Path, settings: Mapping[str, str] = ...) -> AbstractContextManager[ServiceProcesses]:
        """Prepare them."""
        ...


@pytest.fixture(scope="module", params=BOTH_PLATFORMS)
def prepare_services(request: pytest.FixtureRequest) -> PrepareServices:
    """Prepare the services on files, or on real servers, impatient in any case."""
    if request.param == EMBEDDED:
        return _on_files
    parts: RealParts = request.getfixturevalue("shared_parts")

    @contextmanager
    def on_servers(data: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[ServiceProcesses]:
        with parts.prepared() as urls, prepared_processes(data, urls, settings={**IMPATIENT, **settings}) as services:
            yield services

    return on_servers


@contextmanager
def _on_files(data: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[ServiceProcesses]:
    with running_redis() as server, service_processes(data, server.url, settings=settings) as services:
        yield services
