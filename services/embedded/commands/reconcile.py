"""`tradeflow reconcile`: each order against the ledger's own answers, and what is safe to heal healed."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer
from pydantic import SecretStr, ValidationError

from services.embedded.addresses import Addresses
from services.embedded.book_source import check_file_exists
from services.embedded.commands.common_options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    log_to_stderr,
    place_beside,
    refuse_alone,
)
from services.embedded.commands.database_work import check_whose_it_is
from services.embedded.commands.exit_codes import OK, VIOLATED
from services.embedded.commands.progress_bar import progress_bar
from services.embedded.commands.service_database import ServiceDatabase, telling_what_is_in_the_way
from services.embedded.data_folder import BadDataFolderError, DataFolder
from services.embedded.sqlite_url import sqlite_url
from services.embedded.story.stage import new_console
from services.embedded.verification.progress import Progress
from services.money import Money
from services.orders.comparison import ComparisonSettings, opened_comparison
from services.orders.use_cases.reconcile_orders import COMPARISON_LAG, Reconciled
from services.orders.use_cases.release_lost_hold import release_lost_hold
from services.runtime.errors import InvalidArgumentError
from services.runtime.settings import variable_name

FOUND_SHOWN_MAX = 50
"""For people; JSON has all of them."""

OrdersDatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--orders-database",
        envvar="TRADEFLOW_ORDERS_DATABASE_URL",
        show_envvar=True,
        help="An orders database, instead of a data folder's: mysql://…, or sqlite:////path/to/orders.db",
    ),
]

LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="TRADEFLOW_ORDERS_LEDGER_GRPC_TARGET",
        show_envvar=True,
        help="Beside --orders-database: where the ledger listens, such as ledger:9090.",
    ),
]


def reconcile(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    orders_database: OrdersDatabaseOption = None,
    ledger: LedgerOption = None,
    heal: Annotated[
        bool, typer.Option("--heal", help="Set right what is safe to set right; else nothing changes.")
    ] = False,
    release: Annotated[
        list[UUID] | None,
        typer.Option(
            "--release",
            help="Compare nothing, and let the money go that is held for this order, which a restore of the orders "
            "database lost; `tradeflow verify` names such. Can be given more than once.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare each order with its hold, as the ledger tells it by gRPC. The ledger runs meanwhile.

    The orders service does the same all the time, in steps, and heals; this is one whole round, now. Orders that moved
    within the last 10 seconds are left out. With --orders-database, the rest comes from the service's own variables:
    TRADEFLOW_ORDERS_TOKEN_URL and TRADEFLOW_ORDERS_CLIENT_SECRET. Exit code 0 when all agree, or do so by now; 1 when
    some don't; 2 when it could not begin.

    [bold]Examples[/bold]

    tradeflow reconcile    [dim]# beside `tradeflow up`[/dim]

    tradeflow reconcile --heal --json

    TRADEFLOW_ORDERS_DATABASE_URL=mysql://… tradeflow reconcile --ledger ledger:9090
    """
    log_to_stderr("ERROR")
    with telling_what_is_in_the_way():
        orders_database = place_beside(context, "--orders-database", orders_database)
        if orders_database is None:
            refuse_alone(context, "--orders-database", "--ledger")
        settings = _of_folder(data) if orders_database is None else _of_service(orders_database, ledger)
        if release:
            asyncio.run(_release(settings, release))
            return
        with progress_bar("comparing") as told:
            reconciled = asyncio.run(_run(settings, told, heals=heal))
    healed = {one.order_id for step in reconciled for one in step.healed}
    found = [(one, one.order_id in healed) for step in reconciled for one in step.found]
    compared = sum(step.compared for step in reconciled)
    left = sum(not is_healed for _, is_healed in found)
    if json:
        rows = [
            {"order_id": one.order_id, "kind": one.kind.value, "message": one.message, "healed": is_healed}
            for one, is_healed in found
        ]
        content = {"agrees": not left, "compared": compared, "found": rows}
        sys.stdout.write(msgspec.json.encode(content).decode() + "\n")
    else:
        console = new_console()
        for one, is_healed in found[:FOUND_SHOWN_MAX]:
            mark = "healed" if is_healed else "open"
            console.print(f"{one.order_id} {one.kind.value} ({mark}): {one.message}", soft_wrap=True, markup=False)
        console.print(
            f"{compared:,} orders that rested for {COMPARISON_LAG.seconds} s compared, {len(found):,} disagree with "
            f"the ledger, {len(found) - left:,} of them healed.",
            soft_wrap=True,
        )
    raise typer.Exit(VIOLATED if left else OK)


def _of_folder(data: Path) -> ComparisonSettings:
    folder = DataFolder(data)
    folder.check_databases_exist()
    addresses = Addresses.of(folder)
    if addresses is None:
        raise BadDataFolderError(
            f"No platform runs on {data}: start `tradeflow up`, or compare without a ledger by `tradeflow verify`."
        )
    return ComparisonSettings(
        database_url=sqlite_url(folder.orders_database),
        ledger_grpc_target=addresses.ledger_grpc_target,
        token_url=f"{addresses.gateway_url}/oauth/token",
        client_secret=SecretStr(folder.secrets().orders_client_secret),
    )


def _of_service(database_url: str, ledger: str | None) -> ComparisonSettings:
    check_file_exists(database_url)
    if not ledger:
        raise InvalidArgumentError("--orders-database needs --ledger", reason="ledger_missing")
    check_whose_it_is(ServiceDatabase("orders", database_url))
    given: dict[str, Any] = {"database_url": database_url, "ledger_grpc_target": ledger}
    try:
        return ComparisonSettings(**given)
    except ValidationError as error:
        wrong = {str(one["loc"][0]) if one["loc"] else "settings" for one in error.errors(include_input=False)}
        names = ", ".join(variable_name(ComparisonSettings, name) for name in sorted(wrong))
        raise InvalidArgumentError(f"missing or wrong: {names}", reason="settings_wrong") from error


async def _release(settings: ComparisonSettings, order_ids: Sequence[UUID]) -> None:
    async with opened_comparison(settings) as comparison:
        for order_id in order_ids:
            hold = await release_lost_hold(order_id, store=comparison.store, ledger=comparison.ledger)
            sys.stdout.write(f"{order_id}: {Money(hold.voided_minor, hold.currency)} are the buyer's again\n")


async def _run(settings: ComparisonSettings, told: Progress, *, heals: bool) -> list[Reconciled]:
    async with opened_comparison(settings) as comparison:
        steps = comparison.run(heals=heals, told=lambda done, total: told("orders", done, total))
        return [step async for step in steps]
