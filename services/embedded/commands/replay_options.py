"""The options of `tradeflow replay`, with what the help says of them."""

from pathlib import Path
from typing import Annotated

import typer

from services.embedded.replay.columns import option_of
from services.embedded.replay.dates import EXAMPLE_FORMAT

CONCURRENCY = 8
"""More keeps two cores no busier."""

CONCURRENCY_MAX = 64
"""Below the client's pool of connections."""


def _column(part: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(option_of(part), help=f"The column with {what}.", metavar="NAME")
    return option


FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="The order history: a CSV file with a header.", show_default=False)
]

UrlOption = Annotated[
    str | None, typer.Option(help="Replay into this running platform instead of one on the data folder.")
]

CurrencyOption = Annotated[str, typer.Option(help="The ISO 4217 code of all prices, in capitals.")]

ConcurrencyOption = Annotated[
    int, typer.Option(min=1, max=CONCURRENCY_MAX, help="How many customers are served at once.")
]

RejectsOption = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="Where rejected rows go; by default rejects-NAME.csv in the data folder."),
]

RunIdOption = Annotated[
    str | None, typer.Option(help="Another name makes the same file happen once more; by default its content's.")
]

InvoiceColumn = Annotated[str, _column("invoice", "the invoice's number")]

StockCodeColumn = Annotated[str, _column("stock_code", "the article")]

DescriptionColumn = Annotated[str, _column("description", "its title")]

QuantityColumn = Annotated[str, _column("quantity", "the pieces")]

DateColumn = Annotated[str, _column("date", "the date and time")]

PriceColumn = Annotated[str, _column("price", "the price of a piece")]

CustomerColumn = Annotated[str, _column("customer", "the customer")]

CountryColumn = Annotated[str, _column("country", "the customer's country")]

DelimiterOption = Annotated[str, typer.Option(help="What separates the columns.")]

EncodingOption = Annotated[
    str | None, typer.Option(help="The file's encoding; by default UTF-8 or, failing that, Windows-1252.")
]

DateFormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT", help=f"As strptime has it, such as {EXAMPLE_FORMAT!r}; by default ISO 8601 or month/day/year."
    ),
]

ReturnPrefixOption = Annotated[str, typer.Option(help="Invoices whose number begins so are returns.")]

NoCustomerOption = Annotated[
    list[str] | None, typer.Option(help="A value that means that no customer is named. Can be repeated.")
]
