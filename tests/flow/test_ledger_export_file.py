"""The file that `tradeflow ledger export` makes: whole, and nobody else's."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest

from services.embedded.book_source import BookSource
from services.embedded.commands.ledger_export import export_to
from services.embedded.verification.progress import silent
from services.ledger.proof.book_export import export_book
from services.runtime.errors import InvalidArgumentError
from tests.support.ledger_proof import NotarisedBook, some_trade
from tests.support.verified_book import no_progress


@pytest.fixture
async def book(tmp_path: Path) -> NotarisedBook:
    book = await NotarisedBook.begin(tmp_path)
    await book.commit(some_trade())
    return book


@pytest.fixture
def source(book: NotarisedBook) -> BookSource:
    return BookSource(database_url=book.url, book_id=1, keys_folder=None)


def drafts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


async def test_two_exports_to_one_file_are_both_whole(book: NotarisedBook, source: BookSource, tmp_path: Path) -> None:
    file, whole = tmp_path / "book.jsonl", BytesIO()
    await export_book(book.book, whole, no_progress)
    others: list[int] = []

    def export_meanwhile(phase: str, done: int, total: int) -> None:
        if not others:
            with ThreadPoolExecutor() as thread:
                others.append(thread.submit(lambda: asyncio.run(export_to(source, file, silent))).result())
            assert file.read_bytes() == whole.getvalue()

    records = await export_to(source, file, export_meanwhile)

    assert others == [records]
    assert file.read_bytes() == whole.getvalue()
    assert drafts(tmp_path) == []


async def test_a_pipe_is_not_replaced_by_a_file(source: BookSource, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(InvalidArgumentError, match="isn't a file"):
        await export_to(source, tmp_path / "pipe", silent)

    assert (tmp_path / "pipe").is_fifo()
