"""What a run showed: a table for people, the ratios, and JSON for programs."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench.ledger.measuring import Measurement

GIBIBYTE = 1024**3


def rate_of(results: list[Measurement], piece: str, workload: str = "uniform") -> float | None:
    """Find a rate; the last one when a piece ran more than once, None when it didn't."""
    rates = [result.per_second for result in results if (result.piece, result.workload) == (piece, workload)]
    return rates[-1] if rates else None


def ratios(results: list[Measurement]) -> dict[str, float]:
    """Compare what ran with the baseline and with the limit of the same run."""
    baseline, limit = rate_of(results, "row by row"), rate_of(results, "LOAD DATA")
    compared: dict[str, float] = {}
    for result in results:
        name = f"{result.piece}, {result.workload}"
        if baseline and not result.piece.startswith(("row by row", "LOAD DATA")):
            compared[f"{name} / row by row"] = result.per_second / baseline
        if limit and result.piece.startswith("committer") and result.workload == "uniform":
            compared[f"{name} / LOAD DATA"] = result.per_second / limit
        if result.workload == "hot" and (uniform := rate_of(results, result.piece)):
            compared[f"{result.piece}, hot / uniform"] = result.per_second / uniform
    return compared


def machine() -> dict[str, Any]:
    """Describe where this ran."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / GIBIBYTE),
        "load_average_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def show(console: Console, title: str, results: list[Measurement]) -> None:
    """Print the table and the ratios."""
    table = Table(title=title)
    for column in (
        "piece",
        "workload",
        "transfers/s",
        "p50 ms",
        "p99 ms",
        "CPU us: service",
        "database",
        "callers",
        "RSS MiB",
    ):
        table.add_column(column, justify="left" if column in {"piece", "workload"} else "right")
    for result in results:
        table.add_row(
            result.piece,
            result.workload,
            f"{result.per_second:,.0f}",
            f"{result.p50_ms:,.2f}",
            f"{result.p99_ms:,.2f}",
            f"{result.service_cpu_micros:,.0f}",
            f"{result.database_cpu_micros:,.0f}",
            f"{result.callers_cpu_micros:,.0f}",
            f"{result.service_rss_mib:,.0f}",
        )
    console.print(table)
    for name, ratio in ratios(results).items():
        console.print(f"{ratio:8.2f}  {name}")


def write(file: Path, about: dict[str, Any], results: list[Measurement]) -> None:
    """Write everything as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {**about, "results": [result.as_json() for result in results], "ratios": ratios(results)}
    file.write_text(json.dumps(content, indent=2) + "\n")
