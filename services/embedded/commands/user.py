"""`tradeflow user`: what operators do for people who can't sign in."""

import sys
from typing import Annotated

import msgspec
import typer

from services.embedded.commands.common_options import DEFAULT_DATA, DataOption, JsonOption, log_to_stderr
from services.embedded.commands.database_work import on_database
from services.embedded.commands.service_database import (
    DatabaseUrlFileOption,
    DatabaseUrlOption,
    ServiceDatabase,
    database_or_data_folder,
    telling_what_is_in_the_way,
)
from services.orders.outbound.store import SqlIdentityStore
from services.orders.use_cases.issue_password_reset import issue_password_reset
from services.runtime.clock import SystemClock

app = typer.Typer(no_args_is_help=True, help="People: a way back in for who forgot a password.")


@app.callback()
def _group() -> None:
    """Keep `reset-password` a command of its own name, though it is the only one."""


@app.command("reset-password")
def reset_password(
    context: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address that the user signs in with.")],
    *,
    data: DataOption = DEFAULT_DATA,
    database_url: DatabaseUrlOption = None,
    database_url_file: DatabaseUrlFileOption = None,
    json: JsonOption = False,
) -> None:
    """Print a token by which a user sets a new password: once, within half an hour. Hand it to nobody else.

    The user opens /#/new-password/TOKEN at the gateway, or sends it with the new password to POST
    /auth/password-reset/confirm; all of the user's sessions end then, and not before. Only the token's hash is kept.
    Exit code 1 where there is no such user.

    [bold]Examples[/bold]

    tradeflow user reset-password ann@example.org

    tradeflow user reset-password ann@example.org --database-url-file /secrets/orders-url --json
    """
    log_to_stderr("ERROR")
    with telling_what_is_in_the_way():
        url = database_or_data_folder(context, "orders", data, database_url, database_url_file)
        issued = on_database(
            ServiceDatabase("orders", url),
            lambda database: issue_password_reset(email, store=SqlIdentityStore(database), clock=SystemClock()),
        )
    told = {"token": issued.token, "expires_at": issued.expires_at.isoformat(timespec="seconds")}
    sys.stdout.write((msgspec.json.encode(told).decode() if json else issued.token) + "\n")
    if not json:
        typer.echo(f"good once, until {told['expires_at']}", err=True)
