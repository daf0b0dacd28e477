"""`tradeflow ledger import`: a whole book from a file."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from services.embedded.book_source import DatabaseOption, check_is_no_folder
from services.embedded.commands.book_trouble import telling_what_troubles_the_book
from services.embedded.commands.common_options import DEFAULT_DATA, DataOption, log_to_stderr, place_beside
from services.embedded.commands.database_work import refuse_if_another_services
from services.embedded.commands.exit_codes import VIOLATED, end_with
from services.embedded.commands.progress_bar import progress_bar
from services.embedded.commands.service_database import ServiceDatabase
from services.embedded.data_folder import DataFolder
from services.embedded.sqlite_url import sqlite_url
from services.embedded.verification.progress import Progress
from services.ledger.proof.book_file import BookFileError, HeaderLine
from services.ledger.proof.book_import import MIGRATIONS, import_book
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database


def import_(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What `tradeflow ledger export` wrote.")
    ],
    *,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Bring a book in from a file, into a place that has no such book yet: unchanged, or not at all.

    The file is verified as `tradeflow verify` does, in a temporary folder, before anything is written. An import that
    was interrupted goes on when it is called again. No ledger may run on the book meanwhile. Exit code 1 when the file
    is refused, 2 when it could not begin.

    [bold]Examples[/bold]

    tradeflow ledger import book.jsonl --data /tmp/copy

    TRADEFLOW_LEDGER_DATABASE_URL=mysql://… tradeflow ledger import book.jsonl
    """
    log_to_stderr("ERROR")
    with telling_what_troubles_the_book():
        database = place_beside(context, "--database", database)
        try:
            with _place(data, database) as url, progress_bar("reading") as told:
                header = asyncio.run(_import(file, url, told))
        except BookFileError as error:
            end_with(error.message, VIOLATED)
    sys.stderr.write(f"Book {header.book_id} is here, with {header.last_sequence:,} records.\n")


@contextmanager
def _place(data: Path, database: str | None) -> Iterator[str]:
    """Choose where the book goes; a data folder is kept from its platform meanwhile."""
    if database is not None:
        yield database
        return
    folder = DataFolder(data)
    folder.prepare()
    with folder.locked():
        yield sqlite_url(folder.ledger_database)


async def _import(file: Path, url: str, told: Progress) -> HeaderLine:
    check_is_no_folder(url)
    database = open_database(url)
    try:
        await refuse_if_another_services(ServiceDatabase("ledger", url), database)
        await migrate(database, MIGRATIONS)
        return await import_book(file, database, told)
    finally:
        await database.close()
