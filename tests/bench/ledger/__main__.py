"""Run the benchmark."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from services.runtime import collector, event_loop
from services.runtime.log import configure_logging
from tests.bench.ledger.delaying import delayed
from tests.bench.ledger.full_memory import FullMemory
from tests.bench.ledger.growing import measure_grown
from tests.bench.ledger.in_process import SCHEMA, measure_in_process
from tests.bench.ledger.load_data import measure_load_data
from tests.bench.ledger.measuring import Measurement, Meter
from tests.bench.ledger.over_grpc import measure_over_grpc
from tests.bench.ledger.report import machine, show, write
from tests.bench.ledger.row_by_row import measure_row_by_row
from tests.bench.ledger.servers import MEMORY_FOLDER, Server
from tests.parts.home import parts_home
from tests.parts.opening import open_server

PIECES = "acbd"

TABLE_CHARACTERS = 130
"""How wide the table is, also where nobody's terminal says."""

RESULTS_FILE = Path(".bench/ledger.json")

SERVER_FLAGS = (
    "--innodb-flush-log-at-trx-commit=1",
    "--sync-binlog=1",
    "--innodb-buffer-pool-size=4G",
    "--innodb-redo-log-capacity=2G",
    "--innodb-adaptive-hash-index=ON",
    "--local-infile=1",
)
"""A durable server of a small machine, which also takes LOAD DATA."""


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.ledger",
        description="Measure the ledger on a durable MySQL of its own: (a) a row-by-row baseline on 32 connections, "
        "(c) the committer called in process, (b) LOAD DATA of the rows that it wrote, (d) the service over gRPC; then "
        "(a) and (c) on a longer wire. All in one run: its figures compare with each other, not with another run's.",
    )
    parser.add_argument("--pieces", default=PIECES, help="which of them, such as ac (b needs c)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--round-trip-ms", type=float, default=1.0, help="of the longer wire; 0 leaves it out")
    parser.add_argument("--postings", type=int, default=0, help="grow the book to so many, and measure (c) again")
    parser.add_argument("--json", type=Path, default=RESULTS_FILE, help="where the figures go")
    arguments = parser.parse_args()
    configure_logging(level="WARNING", log_format="console")
    collector.collect_seldom()  # as in the service's own process, in which the committer usually runs
    servers = parts_home() / "servers"
    servers.mkdir(parents=True, exist_ok=True)
    with FullMemory(servers) as memory, _server(servers) as server:
        event_loop.run(_Run(arguments, server, memory).run())


@contextmanager
def _server(servers: Path) -> Iterator[Server]:
    """Start a durable server with a fresh folder, and forget it at the end."""
    with tempfile.TemporaryDirectory(dir=servers, prefix="bench-") as folder:
        part = open_server("mysql", Path(folder), SERVER_FLAGS)
        try:
            yield Server.of_url(part.start())
        finally:
            part.wipe()


class _Run:
    """One run of the chosen pieces."""

    def __init__(self, arguments: argparse.Namespace, server: Server, memory: FullMemory) -> None:
        self._arguments = arguments
        self._server = server
        self._memory = memory
        self._meter = Meter(database_pid=server.pid, memory=memory)
        self._console = Console()
        self._console.width = max(self._console.width, TABLE_CHARACTERS)
        self._results: list[Measurement] = []

    async def run(self) -> None:
        arguments, results = self._arguments, self._results
        about = {"machine": machine(), "server": await self._server.version(), "seconds": arguments.seconds}
        self._memory.fill_at_first(self._console)
        await self._measure()
        if arguments.round_trip_ms:
            about["longer_wire"] = await self._measure_longer_wire()
        show(self._console, f"The ledger on {about['server']}", results)
        write(arguments.json, about, results)
        if arguments.postings:
            most_mib = await measure_grown(
                self._server, self._meter, results, postings=arguments.postings, seconds=arguments.seconds
            )
            about["grown"] = {"postings": arguments.postings, "rss_mib_max": round(most_mib)}
            self._console.print(f"While the book grew, the committer's process had at most {most_mib:,.0f} MiB.")
            show(self._console, f"The same with {arguments.postings:,} postings", results)
            write(arguments.json, about, results)

    async def _measure(self) -> None:
        pieces, seconds = self._arguments.pieces, self._arguments.seconds
        if "a" in pieces:
            await measure_row_by_row(self._server, self._meter, self._results, seconds=seconds)
        if "c" in pieces:
            await measure_in_process(self._server, self._meter, self._results, seconds=seconds)
        if "b" in pieces:
            with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
                await measure_load_data(self._server, self._meter, self._results, source=SCHEMA, folder=Path(folder))
        if "d" in pieces:
            await measure_over_grpc(self._server, self._meter, self._results, seconds=seconds)

    async def _measure_longer_wire(self) -> list[dict[str, object]]:
        """Measure the baseline and the committer through a proxy."""
        results: list[Measurement] = []
        round_trip_ms, seconds = self._arguments.round_trip_ms, self._arguments.seconds
        async with delayed(self._server.port, round_trip_ms) as port:
            far = Server(host=self._server.host, port=port)
            if "a" in self._arguments.pieces:
                await measure_row_by_row(far, self._meter, results, seconds=seconds)
            if "c" in self._arguments.pieces:
                await measure_in_process(far, self._meter, results, seconds=seconds)
        show(self._console, f"With {round_trip_ms:g} ms of added round trip", results)
        return [result.as_json() for result in results]


if __name__ == "__main__":
    main()
