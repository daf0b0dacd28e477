"""`tradeflow ledger`: a ledger's book, where it stands, and the whole of it as a file."""

import typer

from services.embedded.commands.ledger_export import export
from services.embedded.commands.ledger_head import head
from services.embedded.commands.ledger_import import import_

app = typer.Typer(no_args_is_help=True, help="A ledger's book: where it stands, and the whole of it as a file.")
app.command("head")(head)
app.command("export")(export)
app.command("import")(import_)
