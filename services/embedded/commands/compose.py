"""`tradeflow compose`: what compose.yaml needs beside images: passwords of one's own, and signing keys."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from services.embedded.commands.common_options import log_to_stderr
from services.embedded.commands.exit_codes import USAGE, end_with
from services.embedded.data_folder import SECRET_BYTES
from services.embedded.service_settings import sha256_of
from services.gateway.keys import ensure_keys
from services.ledger.proof.key_folder import ensure_signing_keys

PASSWORDS = (
    "LEDGER_DATABASE_PASSWORD",
    "ORDERS_DATABASE_PASSWORD",
    "ORDERS_CLIENT_SECRET",
    "TREASURY_PASSWORD",
    "OPERATOR_PASSWORD",
)
"""The variables of compose.yaml that are secret."""

CLIENT_SECRET_DIGEST = "ORDERS_CLIENT_SECRET_SHA256"  # noqa: S105 - a variable's name
"""All that the gateway is told of a client's secret."""

GATEWAY_KEYS, LEDGER_KEYS = "gateway", "ledger"
"""The folders of keys, by who signs with them."""

app = typer.Typer(no_args_is_help=True, help="What compose.yaml needs: passwords of your own, and signing keys.")


@app.command()
def env() -> None:
    """Write passwords that nobody else has, as the file .env that `docker compose` reads.

    Databases keep the passwords that they were made with: write it before the first start, and keep it.

    [bold]Example[/bold]

    tradeflow compose env > .env
    """
    drawn = {name: secrets.token_urlsafe(SECRET_BYTES) for name in PASSWORDS}
    drawn[CLIENT_SECRET_DIGEST] = sha256_of(drawn["ORDERS_CLIENT_SECRET"])
    for name, value in drawn.items():
        typer.echo(f"{name}={value}")


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", file_okay=False, help="Where the keys are kept.")],
) -> None:
    """Make the keys that sign tokens (FOLDER/gateway) and the book's heads (FOLDER/ledger), unless they are there.

    [bold]Example[/bold]

    tradeflow compose keys keys
    """
    log_to_stderr("ERROR")
    try:
        ensure_keys(folder / GATEWAY_KEYS)
        ensure_signing_keys(folder / LEDGER_KEYS)
    except OSError as error:
        end_with(f"{folder} can't hold keys: {error.strerror}", USAGE)
