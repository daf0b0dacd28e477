"""The same with a long history: fill the book with postings through the committer, then measure again.

`python -m tests.bench.ledger.growing URL TRANSFERS` is the process that fills; its memory is watched.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process

import psutil
from rich.progress import Progress

from services.ledger.committer.committer import committing
from services.runtime import event_loop
from services.runtime.database_opening import open_database
from services.runtime.log import configure_logging
from tests.bench.ledger.in_process import BATCH_SIZES, SCHEMA, commands_of, measure_batches, require_receipts
from tests.bench.ledger.measuring import MEBIBYTE, Measurement, Meter
from tests.bench.ledger.servers import Server
from tests.bench.ledger.workload import UNIFORM, WORKLOADS

POSTINGS_PER_TRANSFER = 2

WATCH_SECONDS = 1.0
"""Between two looks at the memory."""

GROWN = "committer, grown"
"""The pieces' name in the table."""


async def measure_grown(
    server: Server, meter: Meter, results: list[Measurement], *, postings: int, seconds: float
) -> float:
    """Grow the book of `measure_in_process`, measure on it, and return the filling process's most memory in MiB."""
    transfers = postings // POSTINGS_PER_TRANSFER
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.ledger.growing", server.url(SCHEMA), str(transfers), stdout=PIPE
    )
    watching = asyncio.create_task(_watch_memory(process))
    await _show_progress(process, transfers)
    for workload in WORKLOADS:
        await measure_batches(
            server, SCHEMA, meter, results, workload=workload, batch_size=BATCH_SIZES[0], seconds=seconds, piece=GROWN
        )
    return await watching


async def _show_progress(process: Process, transfers: int) -> None:
    assert process.stdout is not None
    with Progress() as progress:
        task = progress.add_task("filling", total=transfers)
        while line := await process.stdout.readline():
            progress.update(task, completed=int(line))
    if await process.wait():
        raise RuntimeError("filling the book failed")


async def _watch_memory(process: Process) -> float:
    watched, most = psutil.Process(process.pid), 0.0
    while process.returncode is None:
        most = max(most, watched.memory_info().rss / MEBIBYTE)
        await asyncio.sleep(WATCH_SECONDS)
    return most


async def _fill(url: str, transfers: int) -> None:
    """Commit transfers, several batches at once, and say how far it is."""
    database = open_database(url)
    commands, batch_size, done = commands_of(UNIFORM, -1), BATCH_SIZES[0], 0

    async def feed() -> None:
        nonlocal done
        while done < transfers:
            done += batch_size
            require_receipts(await committer.submit_many([next(commands) for _ in range(batch_size)]))
            print(done, flush=True)  # noqa: T201 - whoever started it reads this

    async with committing(database, book_id=1) as committer:
        await asyncio.gather(feed(), feed(), feed())
    await database.close()


if __name__ == "__main__":
    configure_logging(level="WARNING", log_format="console")  # stdout is for the progress alone
    event_loop.run(_fill(sys.argv[1], int(sys.argv[2])))
