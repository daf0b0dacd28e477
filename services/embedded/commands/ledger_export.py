"""`tradeflow ledger export`: a whole book as a file."""

import asyncio
import sys
from pathlib import Path
from secrets import token_hex
from typing import Annotated

import typer

from services.embedded.book_source import DEFAULT_BOOK, BookOption, BookSource, DatabaseOption
from services.embedded.commands.book_trouble import telling_what_troubles_the_book
from services.embedded.commands.chosen_book import chosen_book
from services.embedded.commands.common_options import DEFAULT_DATA, DataOption, log_to_stderr
from services.embedded.commands.progress_bar import progress_bar
from services.embedded.verification.progress import Progress
from services.ledger.proof.book_export import export_book
from services.runtime.errors import InvalidArgumentError


def export(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", dir_okay=False, help="The file to be made; one that is there is replaced.")
    ],
    *,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
    book: BookOption = DEFAULT_BOOK,
) -> None:
    """Write the whole book to a file, as JSON Lines: records, postings, keys, refusals, signed heads.

    It is one snapshot, taken beside the running service; what is recorded meanwhile is not in it. The file appears when
    it is whole. Equal books make equal files.

    [bold]Examples[/bold]

    tradeflow ledger export book.jsonl

    tradeflow ledger import book.jsonl --data /tmp/copy && tradeflow ledger export copy.jsonl --data /tmp/copy
    """
    log_to_stderr("ERROR")
    with telling_what_troubles_the_book():
        source = chosen_book(context, data=data, database=database, book_id=book)
        with progress_bar("exporting") as told:
            records = asyncio.run(export_to(source, file, told))
    sys.stderr.write(f"{records:,} records are in {file}.\n")


async def export_to(source: BookSource, file: Path, told: Progress) -> int:
    """Write a book to a file, which appears when it is whole; return the number of its records.

    Raises:
        InvalidArgumentError: What is there isn't a file; a device or a pipe would be replaced by one.
        OSError: The file can't be written.
    """
    _check_may_be_replaced(file)
    # A name of its own: of two exports to one file each is whole, and the one that ends last stays.
    draft = file.with_name(f".{file.name}.{token_hex(8)}.part")
    try:
        async with source.opened() as book:
            with draft.open("xb") as opened:
                records = await export_book(book, opened, lambda done, total: told("exporting", done, total))
        draft.replace(file)
    except OSError as error:
        # The draft's name says nothing to who asked for the file.
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        draft.unlink(missing_ok=True)
    return records


def _check_may_be_replaced(file: Path) -> None:
    if file.exists() and not file.is_file():
        raise InvalidArgumentError(f"{file} is there, and isn't a file.", reason="not_a_file")
