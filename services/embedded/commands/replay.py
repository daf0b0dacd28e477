"""`tradeflow replay`: its options, its output, its exit codes."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
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
from services.embedded.commands.replay_options import (
    CONCURRENCY,
    ConcurrencyOption,
    CountryColumn,
    CurrencyOption,
    CustomerColumn,
    DateColumn,
    DateFormatOption,
    DelimiterOption,
    DescriptionColumn,
    EncodingOption,
    FileArgument,
    InvoiceColumn,
    NoCustomerOption,
    PriceColumn,
    QuantityColumn,
    RejectsOption,
    ReturnPrefixOption,
    RunIdOption,
    StockCodeColumn,
    UrlOption,
)
from services.embedded.data_folder import DataFolder
from services.embedded.replay.access import (
    CREDENTIALS_VARIABLES,
    accounts_of,
    check_url,
    embedded_access,
    remote_access,
)
from services.embedded.replay.columns import ColumnNames
from services.embedded.replay.dates import check_date_format
from services.embedded.replay.plan import FileForm
from services.embedded.replay.progress import showing_progress
from services.embedded.replay.rejects import Reason
from services.embedded.replay.replaying import OpenPlatform, Reading, carry_out, read_plan
from services.embedded.replay.report import Report, as_data, show_table, write_rejects
from services.embedded.starting import CannotStartError
from services.embedded.story.stage import new_console
from services.money import exponent_of
from services.runtime.errors import InvalidArgumentError, TradeFlowError

RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")
"""What --run-id may be: it is part of idempotency keys and of a file's name."""

COLUMNS = ColumnNames()
"""The defaults of the column options."""


def replay(
    *,
    file: FileArgument,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    currency: CurrencyOption = "GBP",
    concurrency: ConcurrencyOption = CONCURRENCY,
    rejects: RejectsOption = None,
    json: JsonOption = False,
    run_id: RunIdOption = None,
    column_invoice: InvoiceColumn = COLUMNS.invoice,
    column_stock_code: StockCodeColumn = COLUMNS.stock_code,
    column_description: DescriptionColumn = COLUMNS.description,
    column_quantity: QuantityColumn = COLUMNS.quantity,
    column_date: DateColumn = COLUMNS.date,
    column_price: PriceColumn = COLUMNS.price,
    column_customer: CustomerColumn = COLUMNS.customer,
    column_country: CountryColumn = COLUMNS.country,
    delimiter: DelimiterOption = ",",
    encoding: EncodingOption = None,
    date_format: DateFormatOption = None,
    return_prefix: ReturnPrefixOption = "C",
    no_customer: NoCustomerOption = None,
    log_level: LogLevelOption = DEFAULT_LOG_LEVEL,
) -> None:
    """Replay an order history; the help is below, since it lists the reasons from their one home."""
    log_to_stderr(log_level)
    rejects_file = rejects or data / f"rejects-{file.stem}.csv"
    _check_options(
        delimiter=delimiter,
        run_id=run_id,
        currency=currency,
        date_format=date_format,
        overwrites_its_file=rejects_file.resolve() == file.resolve(),
    )
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


def _check_options(
    *, delimiter: str, run_id: str | None, currency: str, date_format: str | None, overwrites_its_file: bool
) -> None:
    if overwrites_its_file:
        end_with("--rejects would overwrite the file itself.", USAGE)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        end_with(f"--delimiter is one character, not {delimiter!r}.", USAGE)
    if run_id is not None and not RUN_ID.fullmatch(run_id):
        end_with(f"--run-id has 1 to 40 of A-Z a-z 0-9 . _ -, unlike {run_id!r}.", USAGE)
    with _telling_of("--currency"):
        exponent_of(currency)
    if date_format:
        with _telling_of("--date-format"):
            check_date_format(date_format)


@contextmanager
def _telling_of(option: str) -> Iterator[None]:
    try:
        yield
    except InvalidArgumentError as error:
        end_with(f"{option}: {error.message.removesuffix('.')}.", USAGE)


def _read(file: Path, form: FileForm, run_id: str | None) -> Reading:
    """Read the file and plan; nothing has happened yet."""
    try:
        return read_plan(file, form, run_id=run_id)
    except OSError as error:
        end_with(f"{file}: {error.strerror}.", USAGE)
    except InvalidArgumentError as error:
        end_with(f"{file}: {error.message.removesuffix('.')}.", USAGE)


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
    accounts = None
    if url is not None:
        check_url(url)
        accounts = accounts_of(os.environ)
    DataFolder(data).prepare()
    if url is None or accounts is None:
        return lambda secret: embedded_access(data, secret)
    return lambda _: remote_access(url, accounts)


def _write_rejects(path: Path, report: Report) -> None:
    try:
        write_rejects(path, report)
    except OSError as error:
        end_with(f"all is done but the rejects file: {path}: {error.strerror}; run it again with --rejects.", VIOLATED)
