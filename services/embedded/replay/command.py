"""`tradeflow replay`: its options, its output, its exit codes."""

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from services.embedded.commands.common_options import (
    DEFAULT_DATA,
    DEFAULT_LOG_LEVEL,
    DataOption,
    JsonOption,
    LogLevelOption,
    log_to_stderr,
)
from services.embedded.commands.exit_codes import INTERRUPTED, USAGE, VIOLATED, end_with
from services.embedded.data_folder import DataFolder
from services.embedded.replay.access import CREDENTIALS_VARIABLES, accounts_of, embedded_access, remote_access
from services.embedded.replay.columns import ColumnNames, option_of
from services.embedded.replay.plan import FileForm
from services.embedded.replay.progress import showing_progress
from services.embedded.replay.rejects import Reason
from services.embedded.replay.replaying import OpenPlatform, Reading, carry_out, read_plan
from services.embedded.replay.report import Report, as_data, show_table, write_rejects
from services.embedded.starting import CannotStartError
from services.embedded.story.stage import new_console
from services.runtime.errors import InvalidArgumentError, TradeFlowError

CONCURRENCY = 8
"""More keeps two cores no busier."""

CONCURRENCY_MAX = 64
"""Below the client's pool of connections."""

RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")
"""What --run-id may be: it is part of idempotency keys and of a file's name."""

COLUMNS = ColumnNames()
"""The defaults of the column options."""


def _column(part: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(option_of(part), help=f"The column with {what}.", metavar="NAME")
    return option


def replay(
    *,
    file: Annotated[Path, typer.Argument(help="The order history: a CSV file with a header.", show_default=False)],
    data: DataOption = DEFAULT_DATA,
    url: Annotated[
        str | None, typer.Option(help="Replay into this running platform instead of one on the data folder.")
    ] = None,
    currency: Annotated[str, typer.Option(help="The ISO 4217 code of all prices.")] = "GBP",
    concurrency: Annotated[
        int, typer.Option(min=1, max=CONCURRENCY_MAX, help="How many customers are served at once.")
    ] = CONCURRENCY,
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected rows go; by default rejects-NAME.csv in the data folder.")
    ] = None,
    json: JsonOption = False,
    run_id: Annotated[
        str | None, typer.Option(help="Another name makes the same file happen once more; by default its content's.")
    ] = None,
    column_invoice: Annotated[str, _column("invoice", "the invoice's number")] = COLUMNS.invoice,
    column_stock_code: Annotated[str, _column("stock_code", "the article")] = COLUMNS.stock_code,
    column_description: Annotated[str, _column("description", "its title")] = COLUMNS.description,
    column_quantity: Annotated[str, _column("quantity", "the pieces")] = COLUMNS.quantity,
    column_date: Annotated[str, _column("date", "the date and time")] = COLUMNS.date,
    column_price: Annotated[str, _column("price", "the price of a piece")] = COLUMNS.price,
    column_customer: Annotated[str, _column("customer", "the customer")] = COLUMNS.customer,
    column_country: Annotated[str, _column("country", "the customer's country")] = COLUMNS.country,
    delimiter: Annotated[str, typer.Option(help="What separates the columns.")] = ",",
    encoding: Annotated[
        str | None, typer.Option(help="The file's encoding; by default UTF-8 or, failing that, Windows-1252.")
    ] = None,
    date_format: Annotated[
        str | None, typer.Option(help="As strptime has it; by default ISO 8601 or month/day/year.")
    ] = None,
    return_prefix: Annotated[str, typer.Option(help="Invoices whose number begins so are returns.")] = "C",
    no_customer: Annotated[
        list[str] | None, typer.Option(help="A value that means that no customer is named. Can be repeated.")
    ] = None,
    log_level: LogLevelOption = DEFAULT_LOG_LEVEL,
) -> None:
    """Replay an order history; the help is below, since it lists the reasons from their one home."""
    log_to_stderr(log_level)
    _check_options(delimiter=delimiter, run_id=run_id)
    columns = ColumnNames(
        invoice=column_invoice,
        stock_code=column_stock_code,
        description=column_description,
        quantity=column_quantity,
        date=column_date,
        price=column_price,
        customer=column_customer,
        country=column_country,
    )
    form = FileForm(
        columns=columns,
        currency=currency,
        delimiter=delimiter,
        encoding=encoding,
        date_format=date_format,
        return_prefix=return_prefix,
        customers_missing=frozenset(no_customer or ()),
    )
    reading = _read(file, form, run_id)
    report = _carry_out(reading, data, url, concurrency=concurrency)
    rejects_file = rejects or data / f"rejects-{file.stem}.csv"
    _write_rejects(rejects_file, report)
    if json:
        sys.stdout.write(msgspec.json.encode(as_data(report, rejects_file)).decode() + "\n")
    else:
        show_table(report, rejects_file, new_console())


_REASONS = "\n\n".join(f"- {reason.value}: {reason.sentence}" for reason in Reason)

replay.__doc__ = f"""Replay a shop's order history through the public API.

An invoice is an order of its customer, a stock code at its price a product.
An invoice whose number begins with C is a return: money goes back for that customer's
earlier purchases of the same stock code, newest first, as far as they go.
Run it again, after a crash or just so: it goes on from where it was, and nothing happens twice.

What can't be an order goes to the rejects file, row by row, with its line in the file
and the first of these reasons:

{_REASONS}

With --url these environment variables say who acts there:
{", ".join(CREDENTIALS_VARIABLES)}.

[bold]Examples[/bold]

tradeflow replay online_retail.csv

tradeflow replay online_retail.csv --no-customer 0.0    [dim]# rejects what nobody in particular bought[/dim]

tradeflow replay sales.csv --currency EUR --column-invoice order --column-customer client --json
"""


def _check_options(*, delimiter: str, run_id: str | None) -> None:
    if len(delimiter) != 1 or delimiter in '"\r\n':
        end_with(f"--delimiter is one character, not {delimiter!r}.", USAGE)
    if run_id is not None and not RUN_ID.fullmatch(run_id):
        end_with(f"--run-id has 1 to 40 of A-Z a-z 0-9 . _ -, unlike {run_id!r}.", USAGE)


def _read(file: Path, form: FileForm, run_id: str | None) -> Reading:
    """Read the file and plan; nothing has happened yet."""
    try:
        return read_plan(file, form, run_id=run_id)
    except OSError as error:
        end_with(f"{file}: {error.strerror}.", USAGE)
    except InvalidArgumentError as error:
        end_with(f"{file}: {error.message}.", USAGE)


def _carry_out(reading: Reading, data: Path, url: str | None, *, concurrency: int) -> Report:
    try:
        open_platform = _opener(data, url)
    except InvalidArgumentError as error:
        end_with(error.message, USAGE)
    try:
        with showing_progress(Console(stderr=True)) as meter:
            work = carry_out(reading, data, open_platform=open_platform, concurrency=concurrency, meter=meter)
            return asyncio.run(work)
    except KeyboardInterrupt:
        end_with("interrupted; run it again and it goes on from here.", INTERRUPTED)
    except CannotStartError as error:
        end_with(str(error), USAGE)
    except TradeFlowError as error:
        end_with(f"{error.message} ({error.reason}); run it again and it goes on from here.", VIOLATED)


def _opener(data: Path, url: str | None) -> OpenPlatform:
    """Decide which platform it is, and make the data folder, where the replay remembers what it did."""
    accounts = accounts_of(os.environ) if url is not None else None
    DataFolder(data).prepare()
    if url is None or accounts is None:
        return lambda secret: embedded_access(data, secret)
    return lambda _: remote_access(url, accounts)


def _write_rejects(path: Path, report: Report) -> None:
    try:
        write_rejects(path, report)
    except OSError as error:
        end_with(f"all is done but the rejects file: {path}: {error.strerror}; run it again with --rejects.", VIOLATED)
