"""Run the benchmark."""

import argparse
import asyncio
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from services.runtime.log import configure_logging
from tests.bench.ledger.measuring import percentile
from tests.bench.ledger.report import machine
from tests.bench.orders.load import Loaded, load
from tests.bench.orders.parts import measured_parts
from tests.support.public_shop import public_shop
from tests.support.real_platform import RealPlatform, running_real_platform

RESULTS_FILE = Path(".bench/orders.json")

BUYERS = 16
"""Wallets that pay; callers share them."""

PRODUCTS = 200
"""With counted stock, of one seller each ten: what callers seldom want at the same moment."""

SELLERS = 20

FUNDS_MINOR = 10**12
"""More than anybody spends."""

STOCK = 10**6

WARM_UP_SECONDS = 2.0

BASELINE = "one commit an order and step"
TOGETHER = "orders together"
PIECES = {BASELINE: 1, TOGETHER: 128}
"""By piece: how many orders may share a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one piece did with so many callers; CPU is a settled order's, in microseconds."""

    piece: str
    callers: int
    orders: int
    orders_per_second: float
    answer_p50_ms: float
    answer_p99_ms: float
    settled_p50_ms: float
    settled_p99_ms: float
    cpu_micros: dict[str, float]


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.orders",
        description="Place orders at the orders service's door, and wait until the ledger has settled them: with a "
        "commit for each step of each order, and with orders that share commits. Two durable MySQLs, Kafka, Redis, the "
        "three services as processes. All in one run: its figures compare with each other, not with another run's.",
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--callers", type=int, nargs="+", default=[16, 64, 256], help="how many order at once")
    parser.add_argument("--json", type=Path, default=RESULTS_FILE, help="where the figures go")
    arguments = parser.parse_args()
    configure_logging(level="WARNING", log_format="console")
    results: list[Measured] = []
    with measured_parts() as parts, tempfile.TemporaryDirectory() as folder:
        for number, (piece, together_max) in enumerate(PIECES.items()):
            settings = {"TRADEFLOW_ORDERS_PLACED_TOGETHER_MAX": str(together_max)}
            with running_real_platform(parts, Path(folder) / str(number), settings=settings) as platform:
                results += asyncio.run(_measure(platform, piece, arguments))
    _show(results)
    about = {"machine": machine(), "seconds": arguments.seconds, "ratio": _ratio(results)}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({**about, "results": [asdict(one) for one in results]}, indent=2) + "\n")


async def _measure(platform: RealPlatform, piece: str, arguments: argparse.Namespace) -> list[Measured]:
    async with public_shop(platform.gateway_url, platform.data) as shop:
        sellers = [await shop.person("merchant") for _ in range(SELLERS)]
        skus = [await shop.product(sellers[at % SELLERS], price_minor=1_000, stock=STOCK) for at in range(PRODUCTS)]
        buyers = [await shop.person(funds_minor=FUNDS_MINOR) for _ in range(BUYERS)]
        url, database_url = platform.services.http_url("orders"), platform.urls.orders_database
        tokens = [buyer.client.access_token for buyer in buyers]
        processes = _processes(platform)

        async def run(callers: int, seconds: float) -> Loaded:
            return await load(url, database_url, tokens=tokens, skus=skus, callers=callers, seconds=seconds)

        await run(min(arguments.callers), WARM_UP_SECONDS)
        measured = []
        for callers in arguments.callers:
            before = {name: _cpu_seconds(process) for name, process in processes.items()}
            loaded = await run(callers, arguments.seconds)
            used = {name: _cpu_seconds(process) - before[name] for name, process in processes.items()}
            measured.append(_measured(piece, callers, loaded, used))
    await platform.assert_invariants_hold()
    return measured


def _measured(piece: str, callers: int, loaded: Loaded, used: dict[str, float]) -> Measured:
    return Measured(
        piece=piece,
        callers=callers,
        orders=loaded.orders,
        orders_per_second=loaded.orders / loaded.seconds,
        answer_p50_ms=1000 * percentile(loaded.answer_seconds, 50),
        answer_p99_ms=1000 * percentile(loaded.answer_seconds, 99),
        settled_p50_ms=1000 * percentile(loaded.settle_seconds, 50),
        settled_p99_ms=1000 * percentile(loaded.settle_seconds, 99),
        cpu_micros={name: 1_000_000 * seconds / max(loaded.orders, 1) for name, seconds in used.items()},
    )


def _processes(platform: RealPlatform) -> dict[str, psutil.Process]:
    """Find the processes that cost CPU: the services and their servers, by their listening ports; and this one."""
    ports = {
        "orders": platform.services.http_ports("orders")[0],
        "ledger": platform.services.http_ports("ledger")[0],
        "orders MySQL": _port(platform.parts.orders_mysql.url),
        "ledger MySQL": _port(platform.parts.ledger_mysql.url),
        "Kafka": _port(platform.parts.kafka.url),
    }
    listening = {
        connection.laddr.port: connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid
    }
    found = {name: psutil.Process(listening[port]) for name, port in ports.items() if port in listening}
    return {**found, "callers": psutil.Process()}


def _port(url: str) -> int:
    return int(url.partition("?")[0].rstrip("/").rpartition(":")[2].partition("/")[0])


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _best(results: list[Measured], piece: str) -> float:
    return max(one.orders_per_second for one in results if one.piece == piece)


def _ratio(results: list[Measured]) -> float:
    """Compare the best of each: nobody runs either with callers that suit it ill."""
    return _best(results, TOGETHER) / _best(results, BASELINE)


def _show(results: list[Measured]) -> None:
    console, table = Console(width=130), Table(title="Orders, placed to settled")
    names = list(results[0].cpu_micros)
    columns = ("piece", "callers", "orders/s", "answer p50", "p99 ms", "settled p50", "p99 ms")
    for column in (*columns, *(f"us {name}" for name in names)):
        table.add_column(column, justify="left" if column == "piece" else "right")
    for one in results:
        cells: list[Any] = [one.orders_per_second, one.answer_p50_ms, one.answer_p99_ms, one.settled_p50_ms]
        cells += [one.settled_p99_ms, *one.cpu_micros.values()]
        table.add_row(one.piece, str(one.callers), *(f"{cell:,.0f}" for cell in cells))
    console.print(table)
    console.print(f"{_ratio(results):8.2f}  {TOGETHER} / {BASELINE}, the best of each")


if __name__ == "__main__":
    main()
