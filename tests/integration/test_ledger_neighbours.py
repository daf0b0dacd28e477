"""Two books in one database, with all that writes beside their committers: nobody stands in anybody's way.

Each book has its committer, its relay with a pruner, and its housekeeping, and holds run out all the time. The server
counts how often, and for how long, a statement waited for a row: by itself, outside of what is tested.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from prometheus_client import CollectorRegistry

from services.ledger.committer.committer import Committer, committing
from services.ledger.committer.pipeline import Pace
from services.ledger.housekeeping.answer_retention import Retention
from services.ledger.housekeeping.loops import housekeeping_loops
from services.ledger.outbound.book_writing import stream_of
from services.ledger.queries.book import Book
from services.runtime.background import background
from services.runtime.clock import SystemClock
from services.runtime.database.port import Database
from services.runtime.errors import RefusedError
from services.runtime.outbox import OutboxRelay, RelaySettings
from tests.integration.callers import WALLETS, Callers
from tests.integration.conftest import ledger_database
from tests.integration.journal import assert_book_keeps
from tests.integration.sessions import Sessions, sessions_of
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema
from tests.support.fake_producer import FakeProducer
from tests.support.ledger_commands import reserve

pytestmark = [pytest.mark.part("mysql"), pytest.mark.timeout(180)]

BOOKS = (1, 2)
WAIT_MILLISECONDS_MAX = 100
PRUNED_AT_ONCE = RelaySettings(poll_seconds=0.05, retention=timedelta(0), prune_every_seconds=0.05, prune_step_packs=8)
ONE_AT_A_TIME = Pace(flights_max=1)
"""A batch that waits at the server for the one before it would be among the waits that the server counts."""

FORGOTTEN_AT_ONCE = Retention(answers=timedelta(seconds=1), keys=timedelta(seconds=2))


async def let_holds_run_out(committer: Committer, book_id: int) -> None:
    """Reserve a little, for a fifth of a second, again and again."""
    for number in count():
        until = datetime.now(UTC) + timedelta(seconds=0.2)
        with suppress(RefusedError):
            await committer.submit(reserve(f"{book_id} runs out {number}", 1, WALLETS[number % 10], expires_at=until))
        await asyncio.sleep(0.005)


async def run_book(stack: AsyncExitStack, database: Database, book_id: int) -> tuple[Committer, FakeProducer]:
    """Run all that writes a book."""
    producer, clock, registry = FakeProducer(), SystemClock(), CollectorRegistry()
    relay = OutboxRelay(database, producer, stream_of(book_id), clock, PRUNED_AT_ONCE)
    committer = await stack.enter_async_context(
        committing(database, book_id=book_id, on_commit=relay.wake, pace=ONE_AT_A_TIME)
    )
    loops = housekeeping_loops(
        committer=committer,
        book=Book(database=database, book_id=book_id),
        clock=clock,
        is_leader=lambda: committer.leader,
        retention=FORGOTTEN_AT_ONCE,
        registry=registry,
    )
    await stack.enter_async_context(background({**loops, "relay": relay.run}, registry=registry))
    return committer, producer


def row_waits(sessions: Sessions) -> dict[str, int]:
    """Ask the server for its own counts."""
    rows = sessions.ask("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock%'")
    counts = {str(name): int(value) for name, value in rows}
    counts |= dict(
        sessions.ask("SELECT name, count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'")
    )
    return counts


@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.soak)])
async def test_two_books_with_relay_pruner_and_housekeeping_never_wait_for_each_other(
    private_server: Callable[[str], Server], seconds: int
) -> None:
    server = private_server("mysql")
    with fresh_schema(server.start()) as url, sessions_of(url) as sessions:
        async with ledger_database(url) as reader, AsyncExitStack() as stack:
            databases = [await stack.enter_async_context(ledger_database(url)) for _ in BOOKS]
            books = [await run_book(stack, *each) for each in zip(databases, BOOKS, strict=True)]
            callers = [Callers([committer], f"book-{number}", 32) for number, (committer, _) in enumerate(books)]
            running_out = [
                asyncio.create_task(let_holds_run_out(committer, book_id))
                for book_id, (committer, _) in zip(BOOKS, books, strict=True)
            ]

            await asyncio.gather(*(each.run(seconds) for each in callers))

            for task in running_out:
                task.cancel()
            await asyncio.wait(running_out)
            waits = row_waits(sessions)
            expired, pruned = await expired_and_pruned(reader)
            for book_id, each in zip(BOOKS, callers, strict=True):
                accepted = {key: answer for key, answer in each.told().items() if isinstance(answer, int)}
                await assert_book_keeps(reader, accepted, book_id=book_id)

    assert waits["lock_deadlocks"] == 0
    assert waits["Innodb_row_lock_time_max"] <= WAIT_MILLISECONDS_MAX, waits
    assert min(expired) > seconds, "holds ran out beside the callers"
    assert min(pruned) > 1, "packs were pruned beside the callers"
    assert all(len(producer.log) > 10 * seconds for _, producer in books)


async def expired_and_pruned(database: Database) -> tuple[list[int], list[int]]:
    """Tell for each book how many holds ran out, and the first event that is still kept."""
    async with database.snapshot() as connection:
        expired = [
            await connection.fetch("SELECT COUNT(*) FROM records WHERE book_id = $1 AND kind = $2", book_id, b"expire")
            for book_id in BOOKS
        ]
        kept = [
            await connection.fetch(
                "SELECT MIN(first_sequence) FROM outbox WHERE stream = $1", stream_of(book_id).encode()
            )
            for book_id in BOOKS
        ]
    return [int(rows[0][0]) for rows in expired], [int(rows[0][0] or 2) for rows in kept]
