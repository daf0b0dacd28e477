"""A book leaves as a file and comes back as the same book, or not at all."""

import gc
import json
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.committer.committer import committing
from services.ledger.proof import book_load
from services.ledger.proof.book_export import export_book
from services.ledger.proof.book_file import BookFileError, read_lines
from services.ledger.proof.book_import import BookNotEmptyError, import_book
from services.ledger.proof.head_file import FORMAT, HeadFile
from services.ledger.proof.statement_check import check_statement
from services.ledger.proof.verify_proof import verify_proof
from services.ledger.queries.book import Book
from services.ledger.queries.verify import verify_book
from services.ledger.wiring import MIGRATIONS
from services.runtime.database.migrations import migrate
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import TradeFlowError
from tests.support import ledger_commands as a
from tests.support.ledger_commands import SELLER, an_id
from tests.support.ledger_proof import NotarisedBook, some_trade
from tests.support.verified_book import no_progress

TABLES = {
    "books": "book_id, last_sequence, last_hash, last_recorded_at, last_account_id, last_event_sequence",
    "accounts": "*",
    "balances": "*",
    "records": "*",
    "postings": "*",
    "backdated": "*",
    "reversals": "*",
    "holds": "*",
    "hold_expiries": "*",
    "capture_legs": "*",
    "idempotency_keys": "*",
    "signed_heads": "*",
    "signing_keys": "*",
}
"""What comes back; the tree's nodes are computed anew, and published events stay behind."""


@pytest.fixture
async def book(tmp_path: Path) -> NotarisedBook:
    """A book with every kind of row, and with things that are still open."""
    book = await NotarisedBook.begin(tmp_path)
    await book.commit(some_trade())
    later = book.clock.now() + timedelta(minutes=10)
    await book.commit([a.reserve("expired", 400, expires_at=later), a.void("never was"), a.reserve("voided", 100)])
    await book.clock.advance(700)
    await book.commit([ExpireHold(hold_id=an_id("expired")), a.void("voided")])
    async with committing(book.database, book_id=1, clock=book.clock) as committer:
        refused = await committer.submit_many([a.reserve("poor", 1_000_000)])
        assert all(isinstance(outcome, TradeFlowError) for outcome in refused)
    await book.commit([a.reserve("open", 700, expires_at=book.clock.now() + timedelta(minutes=10))])
    await book.commit([a.deposit(amount=1, effective_at=book.clock.now() - timedelta(days=2))])
    await book.sign()
    return book


async def exported(book: Book) -> bytes:
    file = BytesIO()
    await export_book(book, file, no_progress)
    return file.getvalue()


async def an_empty_database(folder: Path) -> SqliteDatabase:
    database = SqliteDatabase(a_folder(folder) / "ledger.db")
    await migrate(database, MIGRATIONS)
    return database


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def silent(_phase: str, _done: int, _total: int) -> None:
    """Tell nobody."""


def rehashed(lines: list[Any]) -> bytes:
    """Lay lines out as an export does, with an end that fits them: what a careful forger writes."""
    content = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines[:-1])
    end = lines[-1] | {"lines": len(lines) - 1, "sha256": b64encode(sha256(content).digest()).decode()}
    return content + json.dumps(end, separators=(",", ":")).encode() + b"\n"


async def test_a_book_comes_back_row_by_row(book: NotarisedBook, tmp_path: Path) -> None:
    file = tmp_path / "book.jsonl"
    file.write_bytes(await exported(book.book))
    database = await an_empty_database(tmp_path / "other")

    header = await import_book(file, database, silent)

    assert header.last_sequence == book.look("SELECT last_sequence FROM books")[0][0]
    other = NotarisedBook(tmp_path / "other" / "ledger.db", book.keys_folder, database, book.clock)
    for table, columns in TABLES.items():
        query = f"SELECT {columns} FROM {table}"  # noqa: S608 - the test's own
        assert sorted(map(repr, other.look(query))) == sorted(map(repr, book.look(query))), table


async def test_export_import_export_gives_the_same_bytes(book: NotarisedBook, tmp_path: Path) -> None:
    first = await exported(book.book)
    file = tmp_path / "book.jsonl"
    file.write_bytes(first)
    database = await an_empty_database(tmp_path / "other")

    await import_book(file, database, silent)

    assert await exported(Book(database=database, book_id=1)) == first


async def test_the_book_goes_on_where_it_was(book: NotarisedBook, tmp_path: Path) -> None:
    before = await book.sign()
    file = tmp_path / "book.jsonl"
    file.write_bytes(await exported(book.book))
    database = await an_empty_database(tmp_path / "other")
    await import_book(file, database, silent)
    other = NotarisedBook(tmp_path / "other" / "ledger.db", book.keys_folder, database, book.clock)

    await other.commit([a.void("open"), a.deposit(SELLER, 5)])
    after = await other.sign()
    report = await verify_book(other.book)
    kept = HeadFile(format=FORMAT, head=before, keys=await book.keys())
    proof = await verify_proof(other.book, no_progress, kept=kept)

    assert after.tree_size > before.tree_size
    assert (report.problems, proof.problems) == ((), ())
    assert check_statement(await other.statements.make(SELLER, "EUR"), anchors=await book.keys()).problems == ()


async def test_events_that_were_published_and_pruned_are_not_missed(book: NotarisedBook, tmp_path: Path) -> None:
    book.change("INSERT INTO outbox_relays SELECT 'book:1', last_event_sequence, zeroblob(16), 0, 0 FROM books")
    book.change("UPDATE outbox_relays SET stream = CAST(stream AS BLOB)")
    book.change("DELETE FROM outbox")
    file = tmp_path / "book.jsonl"
    file.write_bytes(await exported(book.book))
    database = await an_empty_database(tmp_path / "other")

    await import_book(file, database, silent)

    assert (await verify_book(book.book)).problems == ()
    assert (await verify_book(Book(database=database, book_id=1))).problems == ()
    assert b'"events"' not in file.read_bytes()


async def test_a_key_that_came_along_is_not_done_again(book: NotarisedBook, tmp_path: Path) -> None:
    again = a.deposit(amount=123, idempotency_key="once")
    await book.commit([again])
    file = tmp_path / "book.jsonl"
    file.write_bytes(await exported(book.book))
    database = await an_empty_database(tmp_path / "other")
    await import_book(file, database, silent)

    async with committing(database, book_id=1, clock=book.clock) as committer:
        receipt = await committer.submit(again)

    assert receipt.replayed


Forge = Callable[[list[Any]], None]


def _change_amount(lines: list[Any]) -> None:
    line = next(line for line in lines if line["type"] == "record" and line["postings"])
    line["postings"][0][2] += 1


def _change_kind(lines: list[Any]) -> None:
    lines[3]["kind"] = "void"


def _drop_a_record(lines: list[Any]) -> None:
    del lines[4]


def _drop_the_last_record(lines: list[Any]) -> None:
    last = max(number for number, line in enumerate(lines) if line["type"] == "record")
    lines[0]["last_sequence"] -= 1
    lines[0]["last_hash"] = lines[last - 1]["hash"]
    del lines[last]


def _swap_records(lines: list[Any]) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def _raise_a_fingerprint(lines: list[Any]) -> None:
    line = next(line for line in lines if line["type"] == "record" and line["fingerprint"])
    line["fingerprint"] = line["hash"]


def _move_a_key(lines: list[Any]) -> None:
    line = next(line for line in lines if line["type"] == "record" and line["idempotency_key"])
    line["idempotency_key"] = "another"


def _turn_a_refusal(lines: list[Any]) -> None:
    next(line for line in lines if line["type"] == "answer")["reason"] = ""


def _forge_a_head(lines: list[Any]) -> None:
    next(line for line in lines if line["type"] == "head")["head"]["tree_size"] -= 1


def _sign_for_another_book(lines: list[Any]) -> None:
    head = next(line for line in lines if line["type"] == "head")
    lines.insert(-1, {"type": "head", "head": head["head"] | {"book_id": 2}})


def _spoil_a_key(lines: list[Any]) -> None:
    next(line for line in lines if line["type"] == "key")["key"]["x"] = "A"


def _date_it_beyond_all_time(lines: list[Any]) -> None:
    lines[0]["last_recorded_at"] = 2**63


def _post_more_than_there_is(lines: list[Any]) -> None:
    line = next(line for line in lines if line["type"] == "record" and line["postings"])
    line["postings"][0][2] = 2**63 - 1


def _repeat_a_key(lines: list[Any]) -> None:
    first, second = [line for line in lines if line["type"] == "record" and line["idempotency_key"]][:2]
    second["service"], second["idempotency_key"] = first["service"], first["idempotency_key"]


def _put_the_key_away(lines: list[Any]) -> None:
    lines[:] = [line for line in lines if line["type"] != "key"]


def _name_another_hash(lines: list[Any]) -> None:
    lines[0]["last_hash"] = lines[1]["hash"]


@pytest.mark.parametrize(
    "forge",
    [
        _change_amount,
        _change_kind,
        _drop_a_record,
        _drop_the_last_record,
        _swap_records,
        _raise_a_fingerprint,
        _move_a_key,
        _turn_a_refusal,
        _forge_a_head,
        _sign_for_another_book,
        _spoil_a_key,
        _date_it_beyond_all_time,
        _post_more_than_there_is,
        _repeat_a_key,
        _put_the_key_away,
        _name_another_hash,
    ],
)
async def test_a_tampered_line_is_refused_and_leaves_nothing(book: NotarisedBook, tmp_path: Path, forge: Forge) -> None:
    lines = [json.loads(line) for line in (await exported(book.book)).splitlines()]
    assert rehashed(lines) == await exported(book.book), "the test writes files as an export does"
    forge(lines)
    file = tmp_path / "book.jsonl"
    file.write_bytes(rehashed(lines))
    database = await an_empty_database(tmp_path / "other")

    with pytest.raises(BookFileError):
        await import_book(file, database, silent)

    other = NotarisedBook(tmp_path / "other" / "ledger.db", book.keys_folder, database, book.clock)
    for table in (*TABLES, "outbox", "outbox_relays", "tree_nodes"):
        assert other.look(f"SELECT COUNT(*) FROM {table}") == [(0,)], table  # noqa: S608 - the test's own


async def test_any_changed_byte_is_refused_by_the_files_own_hash(book: NotarisedBook) -> None:
    content = await exported(book.book)

    for at in range(0, len(content), 97):
        forged = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(BookFileError):
            list(read_lines(BytesIO(forged)))


async def test_a_cut_file_is_refused(book: NotarisedBook) -> None:
    content = await exported(book.book)

    for kept in (0, 1, len(content) // 2, content.rindex(b"\n", 0, -1) + 1, len(content) - 2):
        with pytest.raises(BookFileError):
            list(read_lines(BytesIO(content[:kept])))
    with pytest.raises(BookFileError, match="follows"):
        list(read_lines(BytesIO(content + b"\n")))


async def test_a_book_that_is_there_stays_as_it_is(book: NotarisedBook, tmp_path: Path) -> None:
    file = tmp_path / "book.jsonl"
    file.write_bytes(await exported(book.book))

    with pytest.raises(BookNotEmptyError):
        await import_book(file, book.database, silent)

    assert await exported(book.book) == file.read_bytes()


async def test_an_interrupted_import_goes_on(
    book: NotarisedBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_load, "STEP_LINES", 4)
    file = tmp_path / "book.jsonl"
    file.write_bytes(await exported(book.book))
    database = await an_empty_database(tmp_path / "other")

    def break_off(phase: str, done: int, _total: int) -> None:
        if phase == "importing" and done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await import_book(file, database, break_off)
    half = await verify_book(Book(database=database, book_id=1))
    await import_book(file, database, silent)

    assert "an import was broken off" in str(half.problems)
    assert await exported(Book(database=database, book_id=1)) == file.read_bytes()


@pytest.fixture
def usual_collector() -> Iterator[None]:
    """Collect garbage as often as Python does: whoever ran a service in this process before has it done seldom."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    gc.collect()
    yield
    gc.set_threshold(*before)


@pytest.mark.ci
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("usual_collector")
async def test_a_book_of_ten_thousand_records_needs_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    peaks = []
    for records in (2_500, 10_000):
        folder = a_folder(tmp_path / str(records))
        book = await NotarisedBook.begin(folder)
        await book.commit([a.deposit(an_id(f"wallet {number % 50}")) for number in range(records)])
        await book.sign()
        database = await an_empty_database(folder / "other")

        tracemalloc.start()
        with (folder / "book.jsonl").open("wb") as opened:
            assert await export_book(book.book, opened, no_progress) > records
        await import_book(folder / "book.jsonl", database, silent)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 1.25
