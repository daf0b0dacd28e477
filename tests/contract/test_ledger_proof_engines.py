"""Heads, statements and whole books are the same on every engine."""

from io import BytesIO
from pathlib import Path

import pytest

from services.ledger.domain.merkle import leaf_hash, merkle_root
from services.ledger.proof.book_export import export_book
from services.ledger.proof.book_import import import_book
from services.ledger.proof.statement_check import check_statement
from services.ledger.proof.verify_proof import verify_proof
from services.ledger.queries.book import Book
from services.ledger.queries.verify import verify_book
from services.ledger.wiring import MIGRATIONS
from services.runtime.database.migrations import migrate
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.database_opening import open_database
from tests.support import ledger_commands as a
from tests.support.ledger_commands import BUYER, SELLER
from tests.support.ledger_proof import NotarisedBook, some_trade
from tests.support.verified_book import no_progress

AN_EMPTY_NODE = "INSERT INTO tree_nodes (book_id, level, node_index, hash) VALUES ($1, $2, $3, $4)"


def silent(_phase: str, _done: int, _total: int) -> None:
    """Tell nobody."""


async def exported(book: Book) -> bytes:
    file = BytesIO()
    await export_book(book, file, no_progress)
    return file.getvalue()


async def test_a_signed_book_proves_its_statements(engine_url: str, tmp_path: Path) -> None:
    database = open_database(engine_url)
    book = await NotarisedBook.begin(tmp_path, database)
    await book.commit([*some_trade(), *[a.deposit(SELLER, 1) for _ in range(300)]])

    head = await book.sign()
    async with database.snapshot() as connection:
        rows = await connection.fetch("SELECT hash FROM records WHERE book_id = $1 ORDER BY sequence", 1)
    statements = [check_statement(await book.statements.make(wallet, "EUR")) for wallet in (BUYER, SELLER)]
    proof = await verify_proof(book.book, no_progress)
    await database.close()

    assert head.root == merkle_root([leaf_hash(digest) for (digest,) in rows])
    assert [statement.problems for statement in statements] == [(), ()]
    assert (proof.problems, proof.heads, proof.nodes) == ((), 1, 1)


async def test_a_book_moves_to_and_from_every_engine(engine_url: str, tmp_path: Path) -> None:
    book = await NotarisedBook.begin(tmp_path)
    await book.commit(some_trade())
    await book.sign()
    file = tmp_path / "book.jsonl"
    file.write_bytes(await exported(book.book))
    database = open_database(engine_url)
    await migrate(database, MIGRATIONS)

    await import_book(file, database, silent)

    there = Book(database=database, book_id=1)
    assert (await verify_book(there)).problems == ()
    again = await exported(there)
    await database.close()
    assert again == file.read_bytes()
    (tmp_path / "again.jsonl").write_bytes(again)
    home = SqliteDatabase(tmp_path / "home.db")
    await migrate(home, MIGRATIONS)
    await import_book(tmp_path / "again.jsonl", home, silent)
    assert await exported(Book(database=home, book_id=1)) == again


@pytest.mark.parametrize("kind", ["tree_nodes", "signed_heads", "signing_keys"])
async def test_what_was_signed_or_stored_and_changed_since_is_found(tmp_path: Path, kind: str) -> None:
    book = await NotarisedBook.begin(tmp_path)
    await book.commit([a.deposit() for _ in range(300)])
    await book.sign()
    column = {"tree_nodes": "hash", "signed_heads": "root", "signing_keys": "public_key"}[kind]
    book.change(f"UPDATE {kind} SET {column} = zeroblob(32)")  # noqa: S608 - the test's own

    report = await verify_proof(book.book, no_progress)

    assert kind in {problem.table for problem in report.problems}


@pytest.mark.parametrize(("level", "index"), [(7, 0), (9, 0), (24, 0), (8, -1), (16, 0)])
async def test_a_node_where_the_tree_has_none_is_found(engine_url: str, tmp_path: Path, level: int, index: int) -> None:
    database = open_database(engine_url)
    book = await NotarisedBook.begin(tmp_path, database)
    await book.commit([a.deposit() for _ in range(300)])
    await book.sign()
    async with database.transaction() as connection:
        await connection.execute(AN_EMPTY_NODE, 1, level, index, bytes(32))

    report = await verify_proof(book.book, no_progress)
    await database.close()

    assert [(problem.table, problem.row) for problem in report.problems] == [
        ("tree_nodes", f"level {level} node {index}")
    ]


async def test_a_head_over_fewer_records_than_none_is_found(tmp_path: Path) -> None:
    book = await NotarisedBook.begin(tmp_path)
    await book.commit(some_trade())
    await book.sign()
    book.change(
        "INSERT INTO signed_heads SELECT 1, -4, root, last_hash, signed_at, key_id, signature FROM signed_heads"
    )

    report = await verify_proof(book.book, no_progress)

    assert ("signed_heads", "head -4") in {(problem.table, problem.row) for problem in report.problems}
