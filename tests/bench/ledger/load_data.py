"""(b) The limit: LOAD DATA of the same rows that our committer wrote, 1,024 transfers a commit.

No client can put rows into the server faster: it parses no SQL. The rows are read back from the committer's own run and
loaded into tables made by the same migrations. A balance is loaded as REPLACE where ours is an upsert.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiomysql

from services.ledger.wiring import MIGRATIONS
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database
from tests.bench.ledger.measuring import Measurement, Meter
from tests.bench.ledger.servers import Server

SCHEMA = "bench_load_data"

TRANSFERS_PER_COMMIT = 1024

COMMITS_MAX = 48
"""Enough for seconds of work."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit's files, by table."""

    files: dict[str, Path]


async def measure_load_data(
    server: Server, meter: Meter, results: list[Measurement], *, source: str, folder: Path
) -> None:
    """Load what the schema `source` holds of a run, and measure it.

    Args:
        server: The server of that run.
        meter: Measures.
        results: Where the measurement goes.
        source: The schema that the committer wrote: uniform transfers of two legs only, after the setup's records.
        folder: Where the files go; best in memory.
    """
    commits = await _write_files(server, source, folder)
    await server.make_schema(SCHEMA)
    database = open_database(server.url(SCHEMA))
    await migrate(database, MIGRATIONS)
    await database.close()
    async with server.cursor(SCHEMA) as cursor:
        await cursor.execute(f"INSERT INTO books SELECT * FROM {source}.books")
        async with meter.measure("LOAD DATA", "uniform", results) as samples:
            for commit in commits:
                began_at = time.perf_counter()
                await _load(cursor, commit)
                samples.add(time.perf_counter() - began_at, TRANSFERS_PER_COMMIT)


async def _load(cursor: aiomysql.Cursor, commit: Commit) -> None:
    await cursor.execute("BEGIN")
    await cursor.execute("SELECT revision FROM books FOR UPDATE")
    for table, file in commit.files.items():
        replace = "REPLACE" if table == "balances" else ""
        await cursor.execute(f"LOAD DATA LOCAL INFILE '{file}' {replace} INTO TABLE {table} CHARACTER SET binary")
    await cursor.execute("UPDATE books SET revision = revision + 1")
    await cursor.execute("COMMIT")


async def _write_files(server: Server, source: str, folder: Path) -> list[Commit]:
    """Cut the run's rows into commits; its last transfers are the steady part."""
    async with server.cursor(source) as cursor:
        last_sequence = await _number(cursor, "SELECT MAX(sequence) FROM records WHERE kind = 'transfer'")
        first_sequence = await _number(cursor, "SELECT MIN(sequence) FROM records WHERE kind = 'transfer'")
        count = min(COMMITS_MAX, (last_sequence - first_sequence + 1) // TRANSFERS_PER_COMMIT)
        commits = []
        for number in range(count):
            first = last_sequence - (count - number) * TRANSFERS_PER_COMMIT + 1
            commits.append(await _write_commit(cursor, folder, number, first))
    return commits


async def _write_commit(cursor: aiomysql.Cursor, folder: Path, number: int, first: int) -> Commit:
    last = first + TRANSFERS_PER_COMMIT - 1
    window = f"book_id = 1 AND sequence BETWEEN {first} AND {last}"
    events_per_pack = await _number(cursor, "SELECT ROUND(AVG(sequence - first_sequence + 1)) FROM outbox")
    packs = -(-2 * TRANSFERS_PER_COMMIT // events_per_pack)
    queries = {
        "records": f"SELECT * FROM records WHERE {window} ORDER BY sequence",
        "postings": f"SELECT * FROM postings WHERE {window} ORDER BY sequence, leg",
        "balances": "SELECT * FROM balances WHERE book_id = 1 AND account_id IN "
        f"(SELECT account_id FROM postings WHERE {window}) ORDER BY account_id",
        # Any packs do: all are alike.
        "outbox": f"SELECT * FROM (SELECT * FROM outbox ORDER BY sequence DESC LIMIT {packs} "
        f"OFFSET {(number + 1) * packs}) AS p ORDER BY sequence",
    }
    files = {}
    for table, query in queries.items():
        await cursor.execute(query)
        files[table] = folder / f"{table}.{number}"
        files[table].write_bytes(_lines(await cursor.fetchall()))
    return Commit(files)


async def _number(cursor: aiomysql.Cursor, query: str) -> int:
    await cursor.execute(query)
    ((number,),) = await cursor.fetchall()
    return int(number)


def _lines(rows: Iterable[Sequence[object]]) -> bytes:
    return b"".join([b"\t".join(map(_field, row)) + b"\n" for row in rows])


def _field(value: object) -> bytes:
    """Write a value as LOAD DATA reads it: tab-separated, with backslashes before special bytes."""
    if value is None:
        return rb"\N"
    if isinstance(value, bytes):
        return value.replace(b"\\", rb"\\").replace(b"\t", b"\\\t").replace(b"\n", b"\\\n").replace(b"\0", rb"\0")
    return str(value).encode()
