"""`tradeflow statement`: files that prove what a wallet's account did, and the check of such a file."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
import typer

from services.embedded.book_source import (
    DEFAULT_BOOK,
    NUMBER_MAX,
    BookOption,
    BookSource,
    DatabaseOption,
    SigningKeysOption,
)
from services.embedded.commands.book_trouble import telling_what_troubles_the_book
from services.embedded.commands.chosen_book import chosen_book
from services.embedded.commands.common_options import DEFAULT_DATA, DataOption, JsonOption, log_to_stderr
from services.embedded.commands.exit_codes import OK, USAGE, VIOLATED, end_with
from services.embedded.story.stage import new_console
from services.ledger.proof.head_file import decode_key_file
from services.ledger.proof.notary import Notary
from services.ledger.proof.statement import StatementMaker
from services.ledger.proof.statement_check import CheckedStatement, check_statement
from services.money import Money
from services.runtime.clock import SystemClock
from services.runtime.errors import TradeFlowError

ROWS_MAX = 100_000
"""Rows of one file: some 200 MB, which are in memory once."""

app = typer.Typer(no_args_is_help=True, help="Statements that prove themselves.")


@app.command("export")
def export(
    context: typer.Context,
    *,
    wallet: Annotated[UUID, typer.Option("--wallet", help="The wallet: its owner's user id.")],
    currency: Annotated[str, typer.Option("--currency", help="An asset code in capitals, such as EUR.")],
    from_row: Annotated[int, typer.Option("--from", min=1, max=NUMBER_MAX, help="The first row of the account.")] = 1,
    to_row: Annotated[int, typer.Option("--to", min=0, max=NUMBER_MAX, help="The last row; 0 is the newest one.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", dir_okay=False, help="The file; else stdout.")] = None,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
    signing_keys: SigningKeysOption = None,
    book: BookOption = DEFAULT_BOOK,
) -> None:
    """Write a statement of a wallet's account, signed by the ledger.

    Its rows can be checked by anybody with the ledger's public keys, without the ledger. It shows nothing of other
    parties: what they have in the same records is there as salted hashes only.

    [bold]Examples[/bold]

    tradeflow statement export --wallet 018f4e6e-7f3a-7c3a-8f7e-0123456789ab --currency EUR > statement.json

    tradeflow statement check statement.json
    """
    log_to_stderr("ERROR")
    if 0 < to_row < from_row:
        end_with(f"--from {from_row} is behind --to {to_row}; --to 0 is the newest row", USAGE)
    with telling_what_troubles_the_book():
        source = chosen_book(context, data=data, database=database, book_id=book, keys_folder=signing_keys)
        content = asyncio.run(_export(source, wallet, currency, from_row, to_row))
        if out is not None:
            out.write_bytes(content)
    if out is None:
        sys.stdout.buffer.write(content)


async def _export(source: BookSource, wallet: UUID, currency: str, from_row: int, to_row: int) -> bytes:
    clock = SystemClock()
    async with source.opened() as book:
        await Notary(book, clock, keys_folder=source.keys_folder).run_once()
        maker = StatementMaker(book, clock, keys_folder=source.keys_folder)
        return await maker.make(
            wallet, currency, from_account_sequence=from_row, to_account_sequence=to_row, rows_max=ROWS_MAX
        )


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The statement.")],
    *,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", exists=True, dir_okay=False, help="The ledger's public keys, got from elsewhere."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check a statement's file, offline: every row, every balance, every signature, and that nothing is missing.

    Without --keys the file's own keys are believed: then it is consistent, and may be somebody else's. The ledger's
    keys are at /api/v1/ledger/keys, and in every file of `tradeflow ledger head`. Exit code 0 when it holds, 1 if not.

    [bold]Examples[/bold]

    tradeflow statement check statement.json

    tradeflow statement check statement.json --keys keys.json
    """
    try:
        anchors = decode_key_file(keys.read_bytes()) if keys is not None else None
    except TradeFlowError as error:
        end_with(error.message, USAGE)
    checked = check_statement(file.read_bytes(), anchors=anchors)
    if json:
        sys.stdout.write(msgspec.json.encode({"holds": checked.holds, **msgspec.to_builtins(checked)}).decode() + "\n")
    else:
        _tell(checked)
    raise typer.Exit(OK if checked.holds else VIOLATED)


def _tell(checked: CheckedStatement) -> None:
    console = new_console()
    for problem in checked.problems:
        console.print(problem, style="red", soft_wrap=True, markup=False)
    if not checked.holds or checked.head is None:
        console.print("The statement does not hold.", style="bold red")
        return
    rows = f"rows {checked.from_account_sequence} to {checked.to_account_sequence}" if checked.rows else "no rows"
    console.print(
        f"The statement holds: wallet {checked.wallet_id}, {rows}, balance"
        f" {Money(checked.balance_minor, checked.currency).format()} at {checked.head.tree_size:,} records of the book,"
        f" signed {checked.head.signed_at:%Y-%m-%d %H:%M:%S} UTC.",
        style="bold green",
        soft_wrap=True,
    )
    named = ", ".join(checked.key_ids)
    if checked.is_anchored:
        console.print(f"Signed by {named}, which your keys vouch for.", soft_wrap=True)
    else:
        console.print(
            f"Signed by {named}: compare that with the ledger's keys, or give them with --keys.",
            style="yellow",
            soft_wrap=True,
        )
