"""One measured piece: transfers, latencies, and what they cost in CPU and memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from tests.bench.ledger.full_memory import FullMemory

MICROS = 1_000_000
MEBIBYTE = 1024 * 1024

IDLE_LOOK_SECONDS = 0.25
"""How long the database is looked at, to tell whether it is idle."""

IDLE_SHARE_MAX = 0.08
"""Up to what share of a core it is: timers of its own, and no pages or old rows to clean up."""

IDLE_SECONDS_MAX = 30.0
"""How long a piece waits for that at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one piece did.

    `service` is whoever does the ledger's work: the baseline's client, or our ledger. `callers` are those who ask it,
    where they are a process of their own.
    """

    piece: str
    workload: str
    transfers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    service_cpu_micros: float
    database_cpu_micros: float
    callers_cpu_micros: float
    service_rss_mib: float

    @property
    def per_second(self) -> float:
        """Tell the rate."""
        return self.transfers / self.seconds

    def as_json(self) -> dict[str, Any]:
        """Show it with its rate."""
        return {**asdict(self), "transfers_per_second": self.per_second}


@dataclass(slots=True)
class Samples:
    """What a piece collects while it runs: an answer time for each call, and how many transfers it made.

    `answers` are read once the clock has stopped: whoever calls does it on a machine of his own.
    """

    transfers: int = 0
    call_seconds: list[float] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)

    def add(self, call_seconds: float, transfers: int = 1) -> None:
        """Count one call."""
        self.transfers += transfers
        self.call_seconds.append(call_seconds)


class Meter:
    """Measures pieces beside the processes that do the work."""

    def __init__(self, *, database_pid: int, memory: FullMemory) -> None:
        """Watch the database server, on a machine whose memory is full before each piece."""
        self._database = psutil.Process(database_pid)
        self._memory = memory

    @asynccontextmanager
    async def measure(
        self, piece: str, workload: str, results: list[Measurement], *, service_pid: int | None = None
    ) -> AsyncIterator[Samples]:
        """Measure the body on a database that is idle before it, and append what it did to `results`.

        Args:
            piece: The piece's name in the table.
            workload: `uniform` or `hot`.
            results: Where the measurement goes.
            service_pid: The process that does the ledger's work; this one unless given.
        """
        await self._until_idle()
        self._memory.fill()
        service, callers = psutil.Process(service_pid), psutil.Process()
        samples = Samples()
        before = [_cpu_seconds(process) for process in (service, self._database, callers)]
        began_at = time.perf_counter()
        yield samples
        seconds = time.perf_counter() - began_at
        service_cpu, database_cpu, callers_cpu = (
            MICROS * (_cpu_seconds(process) - cpu_before) / max(samples.transfers, 1)
            for process, cpu_before in zip((service, self._database, callers), before, strict=True)
        )
        results.append(
            Measurement(
                piece=piece,
                workload=workload,
                transfers=samples.transfers,
                seconds=seconds,
                p50_ms=1000 * percentile(samples.call_seconds, 50),
                p99_ms=1000 * percentile(samples.call_seconds, 99),
                service_cpu_micros=service_cpu,
                database_cpu_micros=database_cpu,
                callers_cpu_micros=0.0 if service == callers else callers_cpu,
                service_rss_mib=service.memory_info().rss / MEBIBYTE,
            )
        )

    async def _until_idle(self) -> None:
        """Let the database clean up behind the piece before: else a piece would pay for its predecessor."""
        until = time.perf_counter() + IDLE_SECONDS_MAX
        used_seconds = IDLE_LOOK_SECONDS
        while used_seconds > IDLE_SHARE_MAX * IDLE_LOOK_SECONDS and time.perf_counter() < until:
            before = _cpu_seconds(self._database)
            await asyncio.sleep(IDLE_LOOK_SECONDS)
            used_seconds = _cpu_seconds(self._database) - before


def percentile(values: Sequence[float], percent: int) -> float:
    """Tell the value that so many percent of the values don't exceed; 0 without values."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
