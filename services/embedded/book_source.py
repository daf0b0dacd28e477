"""Which book a command of the command line looks at: a data folder's, or that of a service by its database's URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from services.embedded.data_folder import BadDataFolderError, DataFolder
from services.embedded.sqlite_url import sqlite_url
from services.ledger.queries.book import Book
from services.runtime.database_opening import open_database, sqlite_path
from services.runtime.url_parts import url_parts

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="TRADEFLOW_LEDGER_DATABASE_URL",
        show_envvar=True,
        help="A ledger's database, instead of a data folder's: mysql://…, or sqlite:////path/to/ledger.db",
    ),
]

NUMBER_MAX = 2**63 - 1
"""No column of a database holds a larger one."""

SigningKeysOption = Annotated[
    Path | None,
    typer.Option(
        "--signing-keys",
        envvar="TRADEFLOW_LEDGER_SIGNING_KEYS_FOLDER",
        exists=True,
        file_okay=False,
        help="The folder of the ledger's private signing keys; a data folder has its own.",
    ),
]

BookOption = Annotated[int, typer.Option("--book", min=1, max=NUMBER_MAX, help="The book's number.")]

DEFAULT_BOOK = 1
"""See BookOption; the embedded platform has no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSource:
    """A book, and the keys that sign for it."""

    database_url: str
    book_id: int
    keys_folder: Path | None

    @property
    def file(self) -> Path | None:
        """Tell the SQLite file, if it is one."""
        return sqlite_file(self.database_url)

    @property
    def name(self) -> str:
        """Name it without what its URL may hide."""
        return self.file.name if self.file is not None else f"book {self.book_id}"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Book]:
        """Open the database while the body runs."""
        database = open_database(self.database_url)
        try:
            yield Book(database=database, book_id=self.book_id)
        finally:
            await database.close()


def book_source(data: Path, database_url: str | None, keys_folder: Path | None, book_id: int) -> BookSource:
    """Choose the book of the options.

    Raises:
        BadDataFolderError: The SQLite file isn't there; it is not made.
    """
    folder = DataFolder(data)
    if database_url is None:
        database_url = sqlite_url(folder.ledger_database)
        keys_folder = keys_folder or folder.ledger_keys
    check_file_exists(database_url)
    if keys_folder is not None and not keys_folder.is_dir():
        keys_folder = None
    return BookSource(database_url=database_url, book_id=book_id, keys_folder=keys_folder)


def check_file_exists(database_url: str) -> None:
    """Make sure that a database which is a file is there: opening it would make it.

    Raises:
        BadDataFolderError: It isn't, or it is a folder.
        InvalidArgumentError: The URL is malformed.
    """
    check_is_no_folder(database_url)
    file = sqlite_file(database_url)
    if file is not None and not file.is_file():
        raise BadDataFolderError(f"There is no {file}: `tradeflow up` or `demo` makes a data folder.")


def check_is_no_folder(database_url: str) -> None:
    """Make sure that a database which is a file can be one, whether it is there or not.

    Raises:
        BadDataFolderError: A folder is there.
        InvalidArgumentError: The URL is malformed.
    """
    file = sqlite_file(database_url)
    if file is not None and file.is_dir():
        raise BadDataFolderError(f"{file} is a folder; name the file in it.")


def sqlite_file(url: str) -> Path | None:
    """Tell the file that a database's URL names, if it names one.

    Raises:
        InvalidArgumentError: The URL is malformed.
    """
    return Path(sqlite_path(url, "database")) if url_parts(url, "database").scheme == "sqlite" else None
