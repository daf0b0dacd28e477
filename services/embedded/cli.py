"""The `tradeflow` command line."""

import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer

from services.embedded.lazy_commands import LazyGroup

COMMANDS = {
    "up": "up:up",
    "demo": "demo:demo",
    "replay": "replay:replay",
    "verify": "verify:verify",
    "reconcile": "reconcile:reconcile",
    "grants": "grants:grants",
    "ledger": "ledger:app",
    "statement": "statement:app",
    "outbox": "outbox:app",
    "dlq": "dlq:app",
    "webhooks": "webhooks:app",
    "user": "user:app",
    "schemas": "schemas:app",
    "migrate": "migrate:app",
    "compose": "compose:app",
}
"""Each command's module in `services.embedded.commands`, and its name there; only the asked one is loaded."""

HELP = """TradeFlow takes an order, holds the buyer's money, settles it in a double-entry ledger, shows wallets live.

[bold]Examples[/bold]

tradeflow demo    [dim]# one order's whole story in a minute; ends with the invariants, checked[/dim]

tradeflow up    [dim]# the platform on 127.0.0.1:8080; Ctrl-C stops it[/dim]

tradeflow replay history.csv    [dim]# a shop's order history through the public API[/dim]

tradeflow verify    [dim]# every invariant, on the data folder, running or not[/dim]

tradeflow statement export --wallet USER_ID --currency EUR    [dim]# a statement that proves itself[/dim]
"""

EPILOG = """[bold]Data[/bold] lie in .tradeflow/ (or --data, or TRADEFLOW_DATA): ledger.db, orders.db, broker.db, \
keys/, and secrets.json with the passwords of treasury@tradeflow.example and operator@tradeflow.example. Only their \
owner may read them. `demo` uses a temporary folder unless told otherwise.

[bold]Exit codes[/bold] 0 done, every invariant holds · 1 an invariant is violated, or the command failed on the way · \
2 it could not begin: wrong options or settings, a name of nothing, a port or a data folder that is taken · \
130 Ctrl-C"""

app = typer.Typer(
    name="tradeflow",
    cls=LazyGroup.of("services.embedded.commands", COMMANDS),
    help=HELP,
    epilog=EPILOG,
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if asked:
        typer.echo(f"tradeflow {version('tradeflow')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options of `tradeflow` itself; the help is the application's."""


def main() -> None:
    """Run the command line; the entry point of the `tradeflow` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows question marks, not a traceback
    app()
