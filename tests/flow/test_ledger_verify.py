"""`verify` finds whatever was changed behind the ledger's back."""
# ruff: noqa: S608 - the tables and columns are the test's own

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.ledger.commands.command import Command
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.committer.committer import committing
from services.ledger.domain.account import wallet_account_code
from services.ledger.queries.verify import VerifyReport
from services.ledger.wiring import MIGRATIONS
from services.money import Money
from services.runtime.database.migrations import migrate
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import NotFoundError, TradeFlowError
from tests.support import ledger_commands as a
from tests.support.clock import START, VirtualClock
from tests.support.ledger_commands import BUYER, OTHER_SELLER, SELLER, an_id
from tests.support.verified_book import verified

CHANGED_COLUMNS = {
    "records": (
        "book_id sequence kind recorded_at effective_at record_id hold_id key_hash service idempotency_key "
        "fingerprint_version fingerprint state_after metadata postings_root hash"
    ),
    "postings": "book_id sequence leg account_id account_sequence amount balance_after salt hash",
    "balances": (
        "book_id account_id debits_posted credits_posted debits_pending credits_pending overdraft_limit limit_sequence "
        "account_sequence last_posting_hash event_sequence event_position"
    ),
    "holds": (
        "book_id hold_id service wallet_id account_id currency state held captured voided refunded expires_at "
        "last_sequence"
    ),
    "capture_legs": (
        "book_id hold_id capture_number seller_id account_id fee_basis_points gross fee gross_refunded fee_returned "
        "reversed_by last_sequence"
    ),
    "accounts": "book_id code account_id account_type wallet_id currency opened_sequence",
    "hold_expiries": "book_id expires_at hold_id",
    "backdated": "book_id account_id effective_at sequence leg recorded_at amount",
    "reversals": "book_id sequence reversed_by",
    "idempotency_keys": (
        "book_id service idempotency_key fingerprint_version fingerprint reason message details hold_id recorded_at "
        "hash"
    ),
    "books": "last_sequence last_hash last_account_id last_event_sequence",
    "outbox": "stream sequence first_sequence",
}
"""What is found when it is changed."""

UNSEEN_COLUMNS = {
    "books": "book_id revision last_recorded_at",
    "outbox": "recorded_at payload",
}
"""What is not, in these tables: a book's number, without which there is nothing to verify; a count of commits that
nothing else counts; the time of the last answer, which need not have made a record; and what events say, of which the
journal has everything that matters."""

DISPOSABLE = ("books", "idempotency_keys", "hold_expiries")
"""Tables whose rows may go: a book as a whole, answers that are pruned, and places in the queue that are over."""

PLACES = {"sequence", "leg", "capture_number", "first_sequence"}
"""Columns that say where a row stands among others of its table."""

CASES = [(table, column) for table, columns in CHANGED_COLUMNS.items() for column in columns.split()]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small book with every kind of record."""
    path = tmp_path_factory.mktemp("book") / "ledger.db"
    asyncio.run(_write_a_book(path))
    return path


@pytest.fixture
def book(untouched: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copy(untouched, tmp_path / "ledger.db"))


async def test_a_book_that_nobody_touched_is_clean(book: Path) -> None:
    report = await _verify(book)

    assert report.problems == ()
    assert report.records == report.last_sequence > 15
    assert {total.currency: total.balance_minor for total in report.totals} == {"EUR": 0, "JPY": 0}
    assert next(total.held_minor for total in report.totals if total.currency == "EUR") == 700 + 300 + 250


@pytest.mark.parametrize("table", CHANGED_COLUMNS)
def test_each_column_is_tried_or_named_as_unseen(book: Path, table: str) -> None:
    with closing(sqlite3.connect(book)) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]

    named = [*CHANGED_COLUMNS[table].split(), *UNSEEN_COLUMNS.get(table, "").split()]
    assert sorted(columns) == sorted(named)


@pytest.mark.parametrize(("table", "column"), CASES, ids=[".".join(case) for case in CASES])
@pytest.mark.parametrize("place", ["first", "last"])
async def test_a_changed_column_is_found(book: Path, table: str, column: str, place: str) -> None:
    _change(book, table, column, place)

    report = await _verify(book)

    assert report.problems


@pytest.mark.parametrize("table", [table for table in CHANGED_COLUMNS if table not in DISPOSABLE])
@pytest.mark.parametrize("place", ["first", "last"])
async def test_a_row_that_was_deleted_is_missed(book: Path, table: str, place: str) -> None:
    rowid = _rowid(book, table, place)
    _run(book, f"DELETE FROM {table} WHERE rowid = {rowid}")

    report = await _verify(book)

    assert report.problems


@pytest.mark.parametrize("column", ["event_sequence", "event_position"])
async def test_an_event_number_of_any_account_of_a_wallet_is_checked(book: Path, column: str) -> None:
    code = wallet_account_code(BUYER, "JPY")
    _run(
        book,
        f"UPDATE balances SET {column} = {column} - 1 WHERE account_id = (SELECT account_id FROM accounts"
        f" WHERE code = CAST('{code}' AS BLOB))",
    )

    report = await _verify(book)

    assert [(problem.table, problem.column) for problem in report.problems] == [("balances", "event_sequence")]


async def test_an_open_hold_that_left_the_queue_is_missed(book: Path) -> None:
    _run(book, f"DELETE FROM hold_expiries WHERE hold_id = x'{an_id('open').hex}'")

    report = await _verify(book)

    assert [(problem.table, problem.column) for problem in report.problems] == [("hold_expiries", "hold_id")]


async def test_a_limit_put_back_to_what_an_older_record_says_is_found(book: Path) -> None:
    changes = "overdraft_limit = 0, limit_sequence = (SELECT opened_sequence FROM accounts a WHERE a.account_id = 1)"
    _run(book, f"UPDATE balances SET {changes} WHERE account_id = 1")

    report = await _verify(book)

    assert ("balances", "limit_sequence") in {(problem.table, problem.column) for problem in report.problems}


async def test_the_first_broken_record_is_named(book: Path) -> None:
    _run(book, "UPDATE records SET metadata = x'00' WHERE sequence = 7")
    _run(book, "UPDATE records SET metadata = x'00' WHERE sequence = 9")

    report = await _verify(book)

    assert (report.problems[0].table, report.problems[0].row) == ("records", "sequence 7")
    assert "was changed" in str(report.problems[0])


async def test_a_balance_that_was_raised_is_named_with_what_it_should_be(book: Path) -> None:
    _run(book, "UPDATE balances SET credits_posted = credits_posted + 100 WHERE account_id = 2")

    report = await _verify(book)

    broken = {(problem.table, problem.row, problem.column) for problem in report.problems}
    assert ("balances", "account 2", "credits_posted") in broken
    assert ("balances", "EUR", "credits_posted") in broken


async def test_a_hold_put_back_to_what_it_was_is_found_though_a_record_says_so(book: Path) -> None:
    hold_id = an_id("captured").hex
    _run(
        book,
        "UPDATE holds SET state = CAST('committed' AS BLOB), captured = 0, refunded = 0, voided = 0, last_sequence ="
        f" (SELECT MIN(sequence) FROM records WHERE hold_id = x'{hold_id}') WHERE hold_id = x'{hold_id}'",
    )

    report = await _verify(book)

    assert ("holds", "last_sequence") in {(problem.table, problem.column) for problem in report.problems}


async def test_a_tail_cut_off_with_its_head_set_back_leaves_traces(book: Path) -> None:
    last = _one(book, "SELECT last_sequence FROM books")
    _run(book, f"DELETE FROM records WHERE sequence = {last}")
    _run(
        book,
        f"UPDATE books SET last_sequence = {last - 1},"
        f" last_hash = (SELECT hash FROM records WHERE sequence = {last - 1})",
    )

    report = await _verify(book)

    assert report.problems


async def test_a_record_before_the_first_one_is_found(book: Path) -> None:
    forged = {"sequence": "0", "record_id": "zeroblob(16)", "idempotency_key": "x'00'"}
    columns = ", ".join(forged.get(column, column) for column in CHANGED_COLUMNS["records"].split())
    _run(book, f"INSERT INTO records SELECT {columns} FROM records WHERE idempotency_key IS NOT NULL LIMIT 1")

    report = await _verify(book)

    assert [(problem.table, problem.row) for problem in report.problems] == [("records", "sequence 0")]


async def test_a_stream_that_is_said_to_be_published_beyond_its_end_is_found(book: Path) -> None:
    _run(
        book,
        "INSERT INTO outbox_relays (stream, cursor_sequence, lease_holder, lease_expires_at, fencing_token)"
        " SELECT CAST('book:1' AS BLOB), last_event_sequence + 1, zeroblob(16), 0, 0 FROM books",
    )

    beyond = await _verify(book)
    _run(book, "UPDATE outbox_relays SET cursor_sequence = cursor_sequence - 1")
    at_the_end = await _verify(book)

    assert [(problem.table, problem.column) for problem in beyond.problems] == [("outbox_relays", "cursor_sequence")]
    assert at_the_end.problems == ()


async def test_verify_from_the_middle_finds_later_changes_and_believes_earlier_ones(book: Path) -> None:
    _run(book, "UPDATE records SET metadata = x'00' WHERE sequence = 3")

    from_the_middle = await _verify(book, from_sequence=8)
    _run(book, "UPDATE postings SET salt = zeroblob(16) WHERE sequence = (SELECT MAX(sequence) FROM postings)")
    after_a_later_change = await _verify(book, from_sequence=8)

    assert from_the_middle.problems == ()
    assert [problem.column for problem in after_a_later_change.problems if problem.table == "postings"]


async def test_problems_are_bounded_and_all_are_counted(book: Path) -> None:
    _run(book, "UPDATE records SET metadata = x'00', kind = x'00', state_after = x'00', postings_root = zeroblob(32)")
    _run(
        book,
        "UPDATE postings SET balance_after = balance_after + 1, account_sequence = account_sequence + 7, leg = leg + 9",
    )

    report = await _verify(book)

    assert len(report.problems) == 100
    assert report.problems_found > 100


async def test_progress_is_told_of_each_part_up_to_its_end(book: Path) -> None:
    told: dict[str, tuple[int, int]] = {}

    report = await verified(f"sqlite:///{book}", lambda part, *reached: told.update({part: reached}))

    assert told["journal"] == (report.last_sequence, report.last_sequence)
    assert told["holds"] == (report.holds, report.holds)
    assert {"events", "keys"} < set(told)


async def test_a_book_that_does_not_exist_is_refused_by_its_number(book: Path) -> None:
    with pytest.raises(NotFoundError) as refusal:
        await verified(f"sqlite:///{book}", book_id=7)

    assert refusal.value.reason == "book_missing"


async def test_a_book_whose_own_row_was_taken_away_is_found_by_its_records(book: Path) -> None:
    _run(book, "DELETE FROM books")

    report = await _verify(book)

    assert ("books", "book_id") in {(problem.table, problem.column) for problem in report.problems}


async def _verify(book: Path, from_sequence: int = 1) -> VerifyReport:
    return await verified(f"sqlite:///{book}", from_sequence=from_sequence)


async def _write_a_book(path: Path) -> None:
    clock = VirtualClock()
    database = SqliteDatabase(path)
    await migrate(database, MIGRATIONS)
    later = clock.now() + timedelta(minutes=10)
    async with committing(database, book_id=1, clock=clock) as committer:
        for batch in _batches(later):
            outcomes = await committer.submit_many(batch)
            assert [outcome for outcome in outcomes if isinstance(outcome, TradeFlowError)] == []
        await clock.advance(700)
        await committer.submit(ExpireHold(hold_id=an_id("expired")))
        refused = await committer.submit_many([a.reserve("poor", 1_000_000), a.capture("nothing", report_refusal=True)])
        assert all(isinstance(outcome, TradeFlowError) for outcome in refused)
        soon = clock.now() + timedelta(minutes=10)
        await committer.submit(a.reserve("open", 700, expires_at=soon))
        await committer.submit(a.reserve("committed", 300))
        undone = await committer.submit(a.deposit(amount=5, effective_at=clock.now() - timedelta(days=2)))
        await committer.submit(a.reverse(undone.journal_sequence))
    await database.close()


def _batches(later: Any) -> list[list[Command]]:
    return [
        [a.open_account(), a.deposit(amount=20_000, note="opening"), a.deposit(amount=Money(500, "JPY"))],
        [a.reserve("captured", 3_000), a.reserve("parted", 500, expires_at=later), a.reserve("voided", 100)],
        [a.reserve("expired", 400, expires_at=later), a.void("voided"), a.void("never was")],
        [
            a.capture("captured", {SELLER: 1_999, OTHER_SELLER: 1_001}, final=True),
            a.commit("parted"),
            a.capture("parted", {SELLER: 250}, number=1),
        ],
        [a.refund("captured", {SELLER: 999}), a.refund("captured", {OTHER_SELLER: 1_001})],
        [a.deposit(wallet=uuid4(), amount=77), a.open_account(), a.set_limit(limit=50), a.set_limit(limit=70)],
        [a.deposit(amount=3, effective_at=START), a.deposit(amount=Money(2, "JPY"))],
    ]


def _change(book: Path, table: str, column: str, place: str) -> None:
    """Change one value: numbers by one, bytes in their last byte, nothing to something."""
    rowid = _rowid(book, table, place)
    value = _one(book, f"SELECT {column} FROM {table} WHERE rowid = {rowid}")
    changed: object
    if isinstance(value, int):
        # Far enough to be no neighbour's place where the column is a part of the key.
        is_place = column in PLACES or (table, column) == ("balances", "account_id")
        changed = value + (1_000_000 if is_place else 1)
    elif value:
        changed = value[:-1] + bytes([value[-1] ^ 0x40])
    else:
        changed = b"\1" * 16
    _run(book, f"UPDATE {table} SET {column} = ? WHERE rowid = {rowid}", changed)


def _rowid(book: Path, table: str, place: str) -> int:
    """Find the first or last row."""
    which = "MIN" if place == "first" else "MAX"
    return int(_one(book, f"SELECT {which}(rowid) FROM {table}"))


def _one(book: Path, sql: str) -> Any:
    with closing(sqlite3.connect(book)) as connection:
        return connection.execute(sql).fetchone()[0]


def _run(book: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(book, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(sql, values).rowcount > 0
