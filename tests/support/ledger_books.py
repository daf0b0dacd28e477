"""Books on a real database, for tests that can't await: a loop in a thread runs their committers.

Hypothesis' state machines are plain functions; the committer's batches, leases and loops go on between their steps.
"""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import UUID

from services.ledger.commands.command import Command
from services.ledger.committer.committer import Committer, committing
from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.ledger.domain.receipt import Receipt
from services.ledger.outbound.stored_values import ACCOUNT_COLUMNS, HOLD_COLUMNS, account_of_row, hold_of_row
from services.ledger.queries.balance import posted_balance
from services.ledger.queries.book import Book
from services.ledger.queries.verify import verify_book
from services.runtime.clock import to_micros
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Database, Row
from services.runtime.database_opening import open_database
from services.runtime.errors import TradeFlowError
from tests.support.ledger_commands import NOW
from tests.support.ledger_committer import EAGER
from tests.support.ledger_invariants import assert_money_is_conserved

CALL_SECONDS_MAX = 30.0
"""How long one step may take before the test gives up."""

T = TypeVar("T")


class StandingClock:
    """A clock that stands where it was put; waits take their time."""

    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> datetime:
        return self.instant

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class CommittedBook:
    """One book and its committer, which plans ahead from its first batch on."""

    def __init__(self, books: "Books", book_id: int) -> None:
        self.clock = StandingClock()
        self.book = Book(database=books.database, book_id=book_id)
        self._books = books
        self._closing = asyncio.Event()
        self._task, self._committer = books.call(self._begin())

    def run(self, commands: Sequence[Command]) -> list[Receipt | TradeFlowError]:
        """Run commands in their order: half of them are planned while the others commit."""
        return self._books.call(self._run(commands))

    def accounts(self) -> list[Account]:
        """Read all accounts."""
        sql = (
            f"SELECT {ACCOUNT_COLUMNS} FROM accounts a JOIN balances b "  # noqa: S608 - a constant
            "ON b.book_id = a.book_id AND b.account_id = a.account_id WHERE a.book_id = $1"
        )
        return [account_of_row(row) for row in self.rows(sql, self.book.book_id)]

    def holds(self) -> list[Hold]:
        """Read all holds."""
        sql = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1"  # noqa: S608 - a constant
        return [hold_of_row(row) for row in self.rows(sql, self.book.book_id)]

    def rows(self, sql: str, *arguments: object) -> list[Row]:
        """Read."""
        return self._books.call(self._rows(sql, arguments))

    def close(self) -> None:
        """Stop the committer."""
        self._books.call(self._close())

    def assert_sound(self) -> None:
        """The invariants hold, and verifying finds nothing."""
        self._books.call(assert_money_is_conserved(self.book.database, book_id=self.book.book_id))
        report = self._books.call(verify_book(self.book))
        assert report.problems == ()

    def assert_dated(self, instants: Sequence[datetime]) -> None:
        """Balances by effective date are what the postings sum to, for wallets, at these instants."""
        for account in self.accounts():
            if account.wallet_id is None:
                continue
            for instant in instants:
                ((summed,),) = self.rows(
                    "SELECT COALESCE(SUM(p.amount), 0) FROM postings p JOIN records r ON r.book_id = p.book_id "
                    "AND r.sequence = p.sequence WHERE p.book_id = $1 AND p.account_id = $2 AND r.effective_at <= $3",
                    *(self.book.book_id, account.account_id, to_micros(instant)),
                )
                told = self.balance_by(account.wallet_id, account.currency, instant)
                assert told == int(summed), (account.code, instant)

    def balance_by(self, wallet_id: UUID, currency: str, effective_at: datetime) -> int:
        """Read a wallet's balance by effective date."""
        told = self._books.call(posted_balance(self.book, wallet_id, currency, effective_at=effective_at))
        return told.posted_minor

    async def _begin(self) -> tuple[asyncio.Task[None], Committer]:
        opened: asyncio.Queue[Committer | None] = asyncio.Queue()
        task = asyncio.create_task(self._commit(opened))
        task.add_done_callback(lambda _: opened.put_nowait(None))
        committer = await opened.get()
        if committer is None:
            await task
            raise RuntimeError("the committer ended at once")
        return task, committer

    async def _commit(self, opened: "asyncio.Queue[Committer | None]") -> None:
        async with committing(
            self.book.database,
            book_id=self.book.book_id,
            clock=self.clock,
            pace=EAGER,
        ) as committer:
            opened.put_nowait(committer)
            await self._closing.wait()

    async def _run(self, commands: Sequence[Command]) -> list[Receipt | TradeFlowError]:
        middle = len(commands) // 2
        parts = [part for part in (commands[:middle], commands[middle:]) if part]
        answers = await asyncio.gather(*[self._committer.submit_many(part) for part in parts])
        return [answer for part in answers for answer in part]

    async def _rows(self, sql: str, arguments: Sequence[object]) -> list[Row]:
        async with self.book.database.snapshot() as connection:
            return await connection.fetch(sql, *arguments)

    async def _close(self) -> None:
        self._closing.set()
        await self._task


class Books:
    """A database for many books, one after the other, and the thread that their committers live in."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._books = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="books", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.database: Database = self.call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.database.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def begin_book(self) -> CommittedBook:
        """Start a committer on a book that nobody used before; its user closes it."""
        self._books += 1
        return CommittedBook(self, self._books)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something in the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_SECONDS_MAX)

    async def _open(self) -> Database:
        database = open_database(self._url)
        await migrate(database, "services.ledger.migrations")
        return database
