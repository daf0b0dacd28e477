"""One measured piece: transfers, latencies, and what they cost in CPU and memory."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

MICROS = 1_000_000
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one piece did. `service` is whoever does the ledger's work: the baseline's client, or our ledger."""

    piece: str
    workload: str
    transfers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    service_cpu_micros: float
    database_cpu_micros: float
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
    """What a piece collects while it runs: an answer time for each call, and how many transfers it made."""

    transfers: int = 0
    call_seconds: list[float] = field(default_factory=list)

    def add(self, call_seconds: float, transfers: int = 1) -> None:
        """Count one call."""
        self.transfers += transfers
        self.call_seconds.append(call_seconds)


class Meter:
    """Measures pieces beside the processes that do the work."""

    def __init__(self, *, database_pid: int) -> None:
        """Watch the database server."""
        self._database = psutil.Process(database_pid)

    @contextmanager
    def measure(
        self, piece: str, workload: str, results: list[Measurement], *, service_pid: int | None = None
    ) -> Iterator[Samples]:
        """Measure the body, and append what it did to `results`.

        Args:
            piece: The piece's name in the table.
            workload: `uniform` or `hot`.
            results: Where the measurement goes.
            service_pid: The process that does the ledger's work; this one unless given.
        """
        service = psutil.Process(service_pid)
        samples = Samples()
        service_before, database_before = _cpu_seconds(service), _cpu_seconds(self._database)
        began_at = time.perf_counter()
        yield samples
        seconds = time.perf_counter() - began_at
        transfers = max(samples.transfers, 1)
        results.append(
            Measurement(
                piece=piece,
                workload=workload,
                transfers=samples.transfers,
                seconds=seconds,
                p50_ms=1000 * percentile(samples.call_seconds, 50),
                p99_ms=1000 * percentile(samples.call_seconds, 99),
                service_cpu_micros=MICROS * (_cpu_seconds(service) - service_before) / transfers,
                database_cpu_micros=MICROS * (_cpu_seconds(self._database) - database_before) / transfers,
                service_rss_mib=service.memory_info().rss / MEBIBYTE,
            )
        )


def percentile(values: Sequence[float], percent: int) -> float:
    """Tell the value that so many percent of the values don't exceed; 0 without values."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
