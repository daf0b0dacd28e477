"""The loop that ends holds, on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from services.ledger.commands.command import Command
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.refusals import HoldNotFoundError
from services.ledger.expiry import STEP_HOLDS_MAX, HoldExpiry
from services.ledger.queries.book import Book
from services.ledger.wiring import MIGRATIONS
from services.runtime.clock import to_micros
from services.runtime.database.migrations import migrate
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import TradeFlowError, UnavailableError
from tests.support.clock import VirtualClock
from tests.support.ledger_commands import NOW
from tests.support.recording_committer import RecordingCommitter
from tests.support.waiting import eventually


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    database = SqliteDatabase(tmp_path / "ledger.db")
    await migrate(database, MIGRATIONS)
    yield Book(database=database, book_id=1)
    await database.close()


async def fall_due(book: Book, clock: VirtualClock, seconds: list[int]) -> None:
    """Queue holds, numbered from 0, that fall due so many seconds from now."""
    now_micros = to_micros(clock.now())
    async with book.database.transaction() as connection:
        await connection.execute_many(
            "INSERT INTO hold_expiries (book_id, expires_at, hold_id) VALUES ($1, $2, $3)",
            [(1, now_micros + each * 1_000_000, UUID(int=number).bytes) for number, each in enumerate(seconds)],
        )


def numbers(batch: list[Command]) -> list[int]:
    return [command.hold_id.int for command in batch if isinstance(command, ExpireHold)]


async def test_only_due_holds_are_expired_and_the_oldest_come_first(book: Book) -> None:
    clock, committer = VirtualClock(), RecordingCommitter()
    await fall_due(book, clock, [0, 1, -5, -9])

    expired = await HoldExpiry(committer=committer, book=book, clock=clock).expire_due()

    assert expired == 3
    assert [numbers(batch) for batch in committer.batches] == [[3, 2, 0]]


async def test_a_step_is_bounded(book: Book) -> None:
    clock, committer = VirtualClock(), RecordingCommitter()
    await fall_due(book, clock, [-1] * (STEP_HOLDS_MAX + 1))

    await HoldExpiry(committer=committer, book=book, clock=clock).expire_due()

    assert len(committer.batches[0]) == STEP_HOLDS_MAX


async def test_a_hold_that_can_not_be_expired_does_not_stop_the_others(book: Book) -> None:
    def answer(command: Command) -> Receipt | TradeFlowError:
        if isinstance(command, ExpireHold) and command.hold_id.int == 0:
            return HoldNotFoundError("It is gone.")
        return Receipt(journal_sequence=1, recorded_at=NOW)

    clock = VirtualClock()
    await fall_due(book, clock, [-2, -1])

    assert await HoldExpiry(committer=RecordingCommitter(answer), book=book, clock=clock).expire_due() == 1


async def test_the_loop_goes_on_when_the_committer_is_busy(book: Book) -> None:
    def busy(_command: Command) -> TradeFlowError:
        raise UnavailableError("The ledger is busy.")

    clock, committer = VirtualClock(), RecordingCommitter(busy)
    await fall_due(book, clock, [-1])
    loop = asyncio.create_task(HoldExpiry(committer=committer, book=book, clock=clock).run())

    await eventually(lambda: clock.sleepers == 1)
    await clock.advance(1)
    await eventually(lambda: len(committer.batches) >= 2)

    loop.cancel()
