"""Which book a command was told to look at, and whether that is a ledger's at all."""

from pathlib import Path

import typer

from services.embedded.book_source import BookSource, book_source
from services.embedded.commands.common_options import place_beside
from services.embedded.commands.database_work import check_whose_it_is
from services.embedded.commands.service_database import ServiceDatabase


def chosen_book(
    context: typer.Context, *, data: Path, database: str | None, book_id: int, keys_folder: Path | None = None
) -> BookSource:
    """Choose the book of the options.

    Raises:
        InvalidArgumentError: A data folder and a database are typed, the file isn't there, or it is another service's.
        UnavailableError: The database can't be reached.
    """
    source = book_source(data, place_beside(context, "--database", database), keys_folder, book_id)
    check_whose_it_is(ServiceDatabase("ledger", source.database_url))
    return source
