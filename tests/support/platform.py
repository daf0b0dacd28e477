"""The embedded platform for tests: in this process, or as a process of its own that can be killed.

Ports are free ones, data lie in the test's folder, and rate limits are out of the way unless a test wants them.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TextIO

import pytest

from services.embedded.data_folder import DataFolder
from services.embedded.invariants import CheckedInvariant
from services.embedded.options import Platform, on_free_ports
from services.embedded.platform import platform
from services.embedded.verification.folder import verify_folder
from tests.parts.home import free_port
from tests.support.forked_process import ForkedProcess

START_SECONDS_MAX = 120.0
"""Usually about two; the machine may be busy."""

STOP_SECONDS_MAX = 25.0
"""Usually one or two; a service gives up after 20 itself."""

NO_RATE_LIMITS = {
    "TRADEFLOW_GATEWAY_RATE_LIMITS": '[{"name": "none", "route_class": "any", "per": "ip", "limit": 1000000, '
    '"window_seconds": 1}]'
}
"""All tests come from one address."""

REPOSITORY = Path(__file__).parents[2]
"""Where `python -m services…` works."""


class Killable(Protocol):
    """A process, however it was started."""

    def kill(self) -> None: ...


class PlatformProcess:
    """`tradeflow up` on a data folder; after a restart the gateway listens where it did before."""

    def __init__(self, data: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """Prepare; `settings` are added environment variables."""
        self.data = data
        self.folder = DataFolder(data)
        self.errors_file = data.with_name(f"{data.name}.stderr")
        self.addresses: dict[str, Any] = {}
        self._environment = {**os.environ, **NO_RATE_LIMITS, **settings}
        self._process: ForkedProcess | None = None

    @property
    def gateway_url(self) -> str:
        """Where the public API is."""
        return str(self.addresses["gateway_url"])

    @property
    def process_id(self) -> int:
        """Which process it is."""
        return self._running().pid

    def start(self) -> None:
        """Start it, and wait until it says where it listens."""
        port = self.gateway_url.rpartition(":")[2] if self.addresses else str(free_port())
        words = ("services.embedded", "up", "--json", "--data", str(self.data), *_free_ports(port))
        self._process = ForkedProcess(
            *words, environment=self._environment, errors_file=self.errors_file, folder=REPOSITORY
        )
        with alarm(self._process, START_SECONDS_MAX):
            line = self._stdout().readline()
        assert line, f"the platform did not start: {self.errors_file.read_text()}"
        self.addresses = json.loads(line)

    def kill(self) -> None:
        """End it without any warning."""
        self._running().kill()
        self._ended()

    def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and return its exit code."""
        self._running().send_signal(signal_number)
        return self._ended()

    async def assert_invariants_hold(self) -> None:
        """Check all invariants, while it runs or after its end."""
        await assert_invariants_hold(self.data)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process is not None:
            self.kill()

    def _running(self) -> ForkedProcess:
        assert self._process is not None, "the platform doesn't run"
        return self._process

    def _stdout(self) -> TextIO:
        return self._running().stdout

    def _ended(self) -> int:
        process = self._running()
        with alarm(process, STOP_SECONDS_MAX):
            exit_code = process.wait()
        self._stdout().close()
        self._process = None
        return exit_code


@contextmanager
def platform_process(data: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[PlatformProcess]:
    """Run a platform as a process during the body, which may kill and start it at will."""
    process = PlatformProcess(data, settings)
    try:
        process.start()
        yield process
    finally:
        process.end()


@asynccontextmanager
async def platform_here(data: Path) -> AsyncIterator[Platform]:
    """Run a platform in this process and event loop."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in NO_RATE_LIMITS.items():
            patch.setenv(name, value)
        async with platform(on_free_ports(data)) as running:
            yield running


async def assert_invariants_hold(data: Path) -> Sequence[CheckedInvariant]:
    """Check all invariants on a data folder, and return what was looked at."""
    checked = await verify_folder(DataFolder(data))
    violated = {f"{one.number}. {one.sentence}": one.violations for one in checked if not one.holds}
    assert not violated, violated
    return checked


def run_command(
    *arguments: str, environment: Mapping[str, str] | None = None, seconds_max: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run `tradeflow` with these arguments, without a terminal."""
    return subprocess.run(
        [*command(), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds_max,
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
    )


def command(*arguments: str) -> list[str]:
    """Spell `tradeflow …` for this interpreter."""
    return [sys.executable, "-m", "services.embedded", *arguments]


def _free_ports(gateway_port: str) -> list[str]:
    others = ("--orders-port", "--ledger-port", "--ledger-grpc-port", "--orders-grpc-port")
    return ["--port", gateway_port, *(part for option in others for part in (option, "0"))]


@contextmanager
def alarm(process: Killable, seconds: float) -> Iterator[None]:
    """Kill a process that takes too long, so that who reads from it goes on."""
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        watchdog.join()
