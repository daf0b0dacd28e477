"""`tradeflow ledger head`: where the book stands, signed, to be kept elsewhere."""

import asyncio
import sys

import typer

from services.embedded.book_source import DEFAULT_BOOK, BookOption, BookSource, DatabaseOption, SigningKeysOption
from services.embedded.commands.book_trouble import telling_what_troubles_the_book
from services.embedded.commands.chosen_book import chosen_book
from services.embedded.commands.common_options import DEFAULT_DATA, DataOption, log_to_stderr
from services.ledger.proof.head_file import encode_head_file
from services.ledger.proof.head_rows import newest_head, public_keys
from services.ledger.proof.notary import Notary
from services.runtime.clock import SystemClock
from services.runtime.errors import UnavailableError


def head(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
    signing_keys: SigningKeysOption = None,
    book: BookOption = DEFAULT_BOOK,
) -> None:
    """Write the newest signed head, with the public keys, to stdout.

    With the signing keys at hand the book is signed as it is now; without them (--database alone) the newest head that
    the service signed is written. Keep it where who runs the database can't change it.

    [bold]Examples[/bold]

    tradeflow ledger head > /mnt/elsewhere/head.json

    tradeflow verify --head /mnt/elsewhere/head.json
    """
    log_to_stderr("ERROR")
    with telling_what_troubles_the_book():
        source = chosen_book(context, data=data, database=database, book_id=book, keys_folder=signing_keys)
        content = asyncio.run(_head_of(source))
    sys.stdout.buffer.write(content)


async def _head_of(source: BookSource) -> bytes:
    async with source.opened() as book:
        await Notary(book, SystemClock(), keys_folder=source.keys_folder).run_once()
        async with book.database.snapshot() as connection:
            signed = await newest_head(connection, book.book_id)
            keys = await public_keys(connection, book.book_id)
    if signed is None:
        raise UnavailableError("No head of the book is signed yet.", reason="head_not_signed")
    return encode_head_file(signed, keys)
