"""`verify` reads a book in pages: nothing escapes between two, and no statement looks at more than one."""
# ruff: noqa: S608 - the tables are the test's own

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.ledger.queries.book import Book
from services.ledger.queries.verification import accounts, events, holds, journal, side_tables
from services.ledger.queries.verify import VerifyReport, verify_book
from services.runtime.database.port import Connection, Database, Row
from services.runtime.database_opening import open_database
from tests.parts.sql_servers import administrator
from tests.support import ledger_commands as a
from tests.support.clock import START
from tests.support.ledger_commands import SELLER, an_id
from tests.support.ledger_proof import NotarisedBook, some_trade
from tests.support.verified_book import verified

PAGES = (
    (accounts, "PAGE_ROWS"),
    (accounts, "SPAN_ROWS"),
    (events, "PAGE_ROWS"),
    (holds, "PAGE_ROWS"),
    (holds, "PAGE_EXPIRIES"),
    (journal, "PAGE_RECORDS"),
    (side_tables, "PAGE_ROWS"),
)
"""What says how much is read at once."""

TABLES = ("records", "postings", "balances", "accounts", "holds", "capture_legs", "backdated", "reversals")
"""Tables of which no row may go."""

HOLDS = 600
"""Of the larger book: several pages of all that is read."""

PAGE_ROWS = 20
"""Of the larger book."""

READS_MAX = 12 * PAGE_ROWS
"""Of one statement: a page of rows, each with some others beside it; whole tables have several times as many."""


@pytest.fixture(params=[1, 2, 3])
def page_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Read so few rows at once."""
    set_pages(monkeypatch, request.param)
    return int(request.param)


def set_pages(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    for module, name in PAGES:
        monkeypatch.setattr(module, name, rows)


async def a_book(folder: Path) -> Path:
    book = await NotarisedBook.begin(folder)
    await book.commit(some_trade())
    await book.commit([a.deposit(SELLER, n, effective_at=START) for n in range(3, 7)])
    later = book.clock.now() + timedelta(minutes=10)
    await book.commit([a.reserve(f"open {n}", 10, expires_at=later) for n in range(5)])
    await book.commit([a.reverse(6), a.reverse(16)])
    await book.database.close()
    return book.path


async def verify(path: Path, from_sequence: int = 1) -> VerifyReport:
    return await verified(f"sqlite:///{path}", from_sequence=from_sequence)


@pytest.mark.usefixtures("page_rows")
@pytest.mark.parametrize("from_sequence", [1, 5, 12])
async def test_a_sound_book_is_sound_whatever_the_pages(tmp_path: Path, from_sequence: int) -> None:
    path = await a_book(tmp_path)

    report = await verify(path, from_sequence)

    assert report.problems == ()
    assert report.holds == 7
    assert report.holds_active == 6


@pytest.mark.parametrize("table", TABLES)
async def test_any_row_that_went_is_missed_wherever_pages_end(
    tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_pages(monkeypatch, 2)
    path, copy = await a_book(tmp_path), tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as file:
        rowids = [rowid for (rowid,) in file.execute(f"SELECT rowid FROM {table}")]

    sound = []
    for rowid in rowids:
        shutil.copy(path, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as file:
            file.execute(f"DELETE FROM {table} WHERE rowid = {rowid}")
        if not (await verify(copy)).problems:
            sound.append(rowid)

    assert len(rowids) > 1
    assert sound == []


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO balances SELECT book_id, 999, 0, 0, 0, 0, 0, 0, 0, last_posting_hash, 0, 0 FROM balances LIMIT 1",
        "INSERT INTO balances SELECT book_id, -7, 0, 0, 0, 0, 0, 0, 0, last_posting_hash, 0, 0 FROM balances LIMIT 1",
        "DELETE FROM holds",
        "UPDATE capture_legs SET hold_id = x'ffffffffffffffffffffffffffffffff' WHERE rowid = 1",
        "DELETE FROM hold_expiries WHERE rowid = (SELECT MIN(rowid) FROM hold_expiries)",
        "UPDATE balances SET debits_pending = debits_pending + 1 WHERE account_id = 1",
        "UPDATE balances SET credits_pending = 1 WHERE account_id = 1",
        "INSERT INTO hold_expiries VALUES (7, 1, zeroblob(16))",
        "INSERT INTO hold_expiries VALUES (-7, 1, zeroblob(16))",
        "UPDATE backdated SET amount = amount + 1 WHERE rowid = (SELECT MAX(rowid) FROM backdated)",
    ],
)
@pytest.mark.usefixtures("page_rows")
async def test_what_belongs_to_nothing_is_found_whatever_the_pages(tmp_path: Path, change: str) -> None:
    path = await a_book(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        assert file.execute(change).rowcount > 0

    assert (await verify(path)).problems


async def test_no_statement_on_mysql_looks_at_more_than_a_page(
    mysql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(mysql_url)
    book = await NotarisedBook.begin(tmp_path, database)
    await book.commit([a.deposit(an_id(f"buyer {n}"), 9_000) for n in range(HOLDS)])
    await book.commit([a.deposit(an_id(f"buyer {n}"), 1, effective_at=START) for n in range(HOLDS)])
    await book.commit([a.reserve(f"order {n}", 1_000, an_id(f"buyer {n}")) for n in range(HOLDS)])
    await book.commit([a.capture(f"order {n}", {SELLER: 700}, an_id(f"buyer {n}")) for n in range(HOLDS)])
    analyse(mysql_url)
    set_pages(monkeypatch, PAGE_ROWS)
    counting = CountingDatabase(database)

    reports = [
        await verify_book(Book(database=counting, book_id=1), from_sequence=from_sequence)
        for from_sequence in (1, 4 * HOLDS)
    ]
    await database.close()

    assert [report.problems for report in reports] == [(), ()]
    reads, statement = max(counting.reads)
    assert reads <= READS_MAX, statement


def analyse(url: str) -> None:
    """Have the server know how large the tables are by now."""
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {', '.join((*TABLES, 'hold_expiries', 'outbox'))}")


class CountingDatabase:
    """A MySQL of which each statement's reads of rows are counted."""

    def __init__(self, real: Database) -> None:
        """Count nothing yet."""
        self._real = real
        self.reads: list[tuple[int, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        async with self._real.snapshot() as connection:
            yield _CountingConnection(connection, self.reads)


class _CountingConnection:
    def __init__(self, real: Connection, reads: list[tuple[int, str]]) -> None:
        self._real = real
        self._reads = reads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        before = await self._reads_so_far()
        rows = await self._real.fetch(sql, *arguments)
        self._reads.append((await self._reads_so_far() - before, sql))
        return rows

    async def _reads_so_far(self) -> int:
        status = await self._real.fetch("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum([int(count) for _, count in status])
