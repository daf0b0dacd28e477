"""What `tradeflow verify` makes of a book that it can't read."""

from pathlib import Path

import pytest

from services.embedded.book_source import BookSource
from services.embedded.service_settings import free_port
from services.embedded.sqlite_url import sqlite_url
from services.embedded.verification.ledger_book import check_book
from services.embedded.verification.progress import silent
from services.runtime.errors import UnavailableError


async def test_a_server_that_does_not_answer_says_nothing_of_the_book() -> None:
    source = BookSource(
        database_url=f"mysql://nobody@127.0.0.1:{free_port('127.0.0.1')}/ledger", book_id=1, keys_folder=None
    )

    with pytest.raises(UnavailableError):
        await check_book(source, silent)


async def test_a_file_that_is_no_database_is_a_broken_book(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(b"no database" * 1000)
    source = BookSource(database_url=sqlite_url(file), book_id=1, keys_folder=None)

    checked = await check_book(source, silent)

    assert list(checked.violations) == [7]
