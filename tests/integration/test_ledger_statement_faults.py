"""A batch that is hit at each of its tables: by a lock that stays too long, by a deadlock, by a lost connection.

The faults are real ones. An administrator's transaction lets nobody write to one table, so that the batch stops at the
statement that writes there; then the lock's time runs out (1205), or the administrator asks for what the batch holds
(1213), or the batch's connection is killed (2013).
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.ledger.commands.command import CallersCommand
from services.ledger.committer.committer import Committer, committing
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.refusals import InsufficientFundsError
from services.runtime.database.port import Database
from services.runtime.errors import TradeFlowError
from tests.integration.conftest import ledger_database
from tests.integration.journal import assert_book_keeps
from tests.integration.sessions import Sessions, sessions_of
from tests.support.ledger_commands import BUYER, capture, deposit, refund, reserve
from tests.support.waiting import eventually

pytestmark = pytest.mark.part("mysql")

WRITTEN = (
    "accounts",
    "balances",
    "records",
    "postings",
    "backdated",
    "holds",
    "hold_expiries",
    "capture_legs",
    "idempotency_keys",
    "outbox",
)
"""All that one batch may write to, but for the head, which it locks first."""

WEIGHT_ROWS = 2_000
"""A deadlock's victim is who changed fewer rows: the administrator changes so many elsewhere."""


def a_batch_that_writes_everywhere() -> list[CallersCommand]:
    """Build it; it is the same each time, but for its keys."""
    now = datetime.now(UTC)
    return [
        deposit(BUYER, 10_000, effective_at=now - timedelta(days=1)),
        reserve("expires", 100, BUYER, expires_at=now + timedelta(hours=1)),
        reserve("captured", 1_000, BUYER),
        capture("captured", 600, BUYER),
        refund("captured", 100, BUYER),
        reserve("refused", 100_000, BUYER),
    ]


@pytest.fixture
async def committer(database: Database, durable_mysql_url: str) -> AsyncIterator[Committer]:
    async with (
        ledger_database(durable_mysql_url, "lock_timeout_seconds=1") as own,
        committing(own, book_id=1) as committer,
    ):
        yield committer


async def rows_of(database: Database) -> dict[str, int]:
    """Count the rows of each table."""
    async with database.snapshot() as connection:
        return {table: (await connection.fetch(f"SELECT COUNT(*) FROM {table}"))[0][0] for table in WRITTEN}  # noqa: S608


async def assert_took_effect_once(
    database: Database, commands: list[CallersCommand], answers: list[Receipt | TradeFlowError]
) -> None:
    *accepted, refused = answers
    assert isinstance(refused, InsufficientFundsError)
    told: dict[str, int | str] = {commands[-1].idempotency_key: refused.reason}
    for command, receipt in zip(commands, accepted, strict=False):
        assert isinstance(receipt, Receipt), receipt
        assert not receipt.replayed
        told[command.idempotency_key] = receipt.journal_sequence
    assert await assert_book_keeps(database, told) == len(accepted)
    assert all(count > 0 for count in (await rows_of(database)).values())


async def stopped_at(
    table: str, sessions: Sessions, committer: Committer
) -> tuple[list[CallersCommand], asyncio.Task[list[Receipt | TradeFlowError]], int]:
    """Let the batch run until it waits for the table; tell its connection too."""
    sessions.lock_table(table)
    commands = a_batch_that_writes_everywhere()
    running = asyncio.create_task(committer.submit_many(commands))
    waiting: list[int] = []

    def waits() -> bool:
        waiting[:] = sessions.waiting()
        return bool(waiting) or running.done()

    await eventually(waits)
    assert not running.done(), f"the batch never waited for {table}: {running.result()}"
    return commands, running, waiting[0]


@pytest.mark.parametrize("table", WRITTEN)
async def test_a_lost_connection_at_a_statement(
    database: Database, committer: Committer, durable_mysql_url: str, table: str
) -> None:
    with sessions_of(durable_mysql_url) as sessions:
        commands, running, connection_id = await stopped_at(table, sessions, committer)
        sessions.kill(connection_id)
        sessions.ask("ROLLBACK")

        await assert_took_effect_once(database, commands, await running)


@pytest.mark.parametrize("table", WRITTEN)
async def test_a_lock_that_stays_too_long_at_a_statement(
    database: Database, committer: Committer, durable_mysql_url: str, table: str
) -> None:
    with sessions_of(durable_mysql_url) as sessions:
        before = _lock_timeouts(sessions)
        commands, running, _ = await stopped_at(table, sessions, committer)
        await eventually(lambda: _lock_timeouts(sessions) > before)
        sessions.ask("ROLLBACK")

        await assert_took_effect_once(database, commands, await running)


@pytest.mark.parametrize("table", WRITTEN)
async def test_a_deadlock_at_a_statement(
    database: Database, committer: Committer, durable_mysql_url: str, table: str
) -> None:
    with sessions_of(durable_mysql_url) as sessions, sessions_of(durable_mysql_url) as observer:
        sessions.ask("CREATE TABLE weight (n INT PRIMARY KEY)")
        before = _deadlocks(observer)
        commands, running, _ = await stopped_at(table, sessions, committer)
        values = ", ".join(f"({number})" for number in range(WEIGHT_ROWS))
        sessions.ask(f"INSERT INTO weight VALUES {values}")  # noqa: S608 - numbers
        # The batch holds the head and waits for us: this closes the ring, and the batch is the lighter one.
        await asyncio.to_thread(sessions.ask, "SELECT * FROM books FOR UPDATE")
        sessions.ask("ROLLBACK")

        await assert_took_effect_once(database, commands, await running)
        assert _deadlocks(observer) == before + 1


async def test_a_head_that_is_locked_too_long(database: Database, committer: Committer, durable_mysql_url: str) -> None:
    with sessions_of(durable_mysql_url) as sessions:
        before = _lock_timeouts(sessions)
        commands, running, _ = await stopped_at("books", sessions, committer)
        await eventually(lambda: _lock_timeouts(sessions) > before)
        sessions.ask("ROLLBACK")

        await assert_took_effect_once(database, commands, await running)


def _lock_timeouts(sessions: Sessions) -> int:
    return _count(sessions, "lock_timeouts")


def _deadlocks(sessions: Sessions) -> int:
    return _count(sessions, "lock_deadlocks")


def _count(sessions: Sessions, name: str) -> int:
    ((count,),) = sessions.ask(f"SELECT count FROM information_schema.innodb_metrics WHERE name = '{name}'")  # noqa: S608
    return int(count)
