"""`tradeflow up`: the platform, until Ctrl-C."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from services.embedded.commands.common_options import (
    DEFAULT_DATA,
    DEFAULT_HOST,
    DEFAULT_LOG_LEVEL,
    DataOption,
    HostOption,
    JsonOption,
    LogLevelOption,
    log_to_stderr,
)
from services.embedded.commands.exit_codes import USAGE, end_with
from services.embedded.data_folder import OPERATOR_EMAIL, TREASURY_EMAIL
from services.embedded.options import (
    GATEWAY_PORT,
    LEDGER_GRPC_PORT,
    LEDGER_PORT,
    ORDERS_GRPC_PORT,
    ORDERS_PORT,
    Platform,
    PlatformOptions,
)
from services.embedded.starting import CannotStartError, started_platform
from services.embedded.story.stage import new_console
from services.runtime.lifecycle import run_until_signalled

STOP_SECONDS_MAX = 10.0
"""How long Ctrl-C may take; a second one ends it at once."""


def _port(name: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, min=0, max=65535, help=f"{what}; 0 takes any free port.")
    return option


def up(
    *,
    data: DataOption = DEFAULT_DATA,
    host: HostOption = DEFAULT_HOST,
    port: Annotated[int, _port("--port", "The gateway: the public API")] = GATEWAY_PORT,
    orders_port: Annotated[int, _port("--orders-port", "The orders service's own HTTP")] = ORDERS_PORT,
    ledger_port: Annotated[int, _port("--ledger-port", "The ledger's own HTTP")] = LEDGER_PORT,
    ledger_grpc_port: Annotated[int, _port("--ledger-grpc-port", "The ledger's gRPC")] = LEDGER_GRPC_PORT,
    orders_grpc_port: Annotated[int, _port("--orders-grpc-port", "The orders service's gRPC")] = ORDERS_GRPC_PORT,
    json: JsonOption = False,
    log_level: LogLevelOption = DEFAULT_LOG_LEVEL,
) -> None:
    """Start the platform and stay; Ctrl-C stops it.

    All three services run in this process, with SQLite files, an in-process Redis and a SQLite event log behind them.
    It is durable, and it is [bold]for trying out[/bold]. The data stays in the folder: the next start goes on from it,
    also after a crash. Each service's settings can be set as when it runs alone, for example
    TRADEFLOW_ORDERS_FEE_BASIS_POINTS=300.

    [bold]Examples[/bold]

    tradeflow up

    tradeflow up --data /tmp/shop --port 9000

    tradeflow up --port 0 --json    [dim]# one line of JSON with the real addresses[/dim]
    """
    log_to_stderr(log_level)
    options = PlatformOptions(
        data=data,
        host=host,
        gateway_port=port,
        orders_port=orders_port,
        ledger_port=ledger_port,
        ledger_grpc_port=ledger_grpc_port,
        orders_grpc_port=orders_grpc_port,
    )
    say = _say_json if json else _say
    run_until_signalled(_explaining(options), on_started=say, stop_seconds_max=STOP_SECONDS_MAX)


@asynccontextmanager
async def _explaining(options: PlatformOptions) -> AsyncIterator[Platform]:
    try:
        async with started_platform(options) as running:
            yield running
    except CannotStartError as error:
        end_with(str(error), USAGE)


def _say_json(running: Platform) -> None:
    told = {
        "gateway_url": running.gateway_url,
        "orders_url": running.orders_url,
        "ledger_url": running.ledger_url,
        "orders_grpc_target": running.orders_grpc_target,
        "ledger_grpc_target": running.ledger_grpc_target,
        "data": str(running.folder.path.resolve()),
        "process_id": os.getpid(),
    }
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    sys.stdout.flush()


def _say(running: Platform) -> None:
    console = new_console()
    console.print("[bold]TradeFlow runs embedded, for trying out.[/bold] Ctrl-C stops it.\n")
    console.print(_addresses(running))
    secrets = running.folder.secrets_file
    console.print(
        f"\nData: {running.folder.path.resolve()} (kept). The passwords of {TREASURY_EMAIL} and {OPERATOR_EMAIL} "
        f"are in {secrets}.\n",
        soft_wrap=True,
    )
    _say_examples(running, console.print)
    sys.stdout.flush()


def _addresses(running: Platform) -> Table:
    table = Table(box=None, show_header=False)
    table.add_row("[bold]console[/bold]", f"[bold]{running.gateway_url}/[/bold]", "for people: sign up, top up, buy")
    table.add_row("public API", running.gateway_url, f"{running.gateway_url}/schema")
    table.add_row("orders", running.orders_url, f"gRPC {running.orders_grpc_target}")
    table.add_row("ledger", running.ledger_url, f"gRPC {running.ledger_grpc_target}")
    return table


def _say_examples(running: Platform, write: Callable[..., None]) -> None:
    url = running.gateway_url
    examples = f"""Sign up, sign in, look at the wallet:

  curl -s {url}/auth/register -H 'content-type: application/json' \\
    -d '{{"email": "buyer@shop.example", "password": "correct horse", "role": "buyer"}}'
  TOKEN=$(curl -s {url}/auth/login -H 'content-type: application/json' \\
    -d '{{"email": "buyer@shop.example", "password": "correct horse"}}' | sed 's/.*"access_token":"\\([^"]*\\).*/\\1/')
  curl -s '{url}/api/v1/wallet/balance?currency=EUR' -H "authorization: Bearer $TOKEN"
"""
    write(examples, markup=False, soft_wrap=True)
