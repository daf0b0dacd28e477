"""`tradeflow webhooks`: what merchants should have been told and were not, and telling them once more."""

import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
import typer
from rich.table import Table

from services.embedded.commands.common_options import DEFAULT_DATA, DataOption, JsonOption, log_to_stderr
from services.embedded.commands.database_work import on_database
from services.embedded.commands.exit_codes import OK, VIOLATED
from services.embedded.commands.service_database import (
    DatabaseUrlFileOption,
    DatabaseUrlOption,
    ServiceDatabase,
    database_or_data_folder,
    telling_what_is_in_the_way,
)
from services.embedded.story.stage import new_console
from services.orders.domain.webhook import DeliveryState
from services.orders.outbound.webhook_overview import Undelivered, endpoint_is_there, redrive_all, undelivered
from services.runtime.clock import SystemClock
from services.runtime.database.port import Database
from services.runtime.errors import InvalidArgumentError

app = typer.Typer(no_args_is_help=True, help="Webhooks: what merchants' endpoints haven't taken.")

EndpointOption = Annotated[UUID | None, typer.Option("--endpoint", help="Only those of this endpoint.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")]

T = TypeVar("T")


@app.command("list")
def list_(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    database_url: DatabaseUrlOption = None,
    database_url_file: DatabaseUrlFileOption = None,
    endpoint: EndpointOption = None,
    pending: Annotated[bool, typer.Option("--pending", help="Those that are still tried, not the dead ones.")] = False,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """List deliveries that were given up, the oldest first. Changes nothing.

    Exit code 0 when there are none, 1 when there are any, 2 when there is no such endpoint. With --pending it is 0
    however many are still tried.

    [bold]Examples[/bold]

    tradeflow webhooks list

    tradeflow webhooks list --pending --database-url-file /secrets/orders-url --json
    """
    log_to_stderr("ERROR")
    state = DeliveryState.PENDING if pending else DeliveryState.DEAD
    with telling_what_is_in_the_way():
        url = database_or_data_folder(context, "orders", data, database_url, database_url_file)
        found = _run(url, endpoint, lambda database: undelivered(database, state, endpoint_id=endpoint, rows_max=limit))
    told = [_as_data(one) for one in found]
    if json:
        sys.stdout.write(msgspec.json.encode({"deliveries": told}).decode() + "\n")
    else:
        table = Table(box=None)
        for column in ("message", "endpoint", "url", "type", "order", "attempts", "last answer", "since"):
            table.add_column(column)
        for one in told:
            table.add_row(*(str(value) for value in one.values()))
        new_console().print(table)
    raise typer.Exit(VIOLATED if found and not pending else OK)


@app.command("redrive")
def redrive_(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    database_url: DatabaseUrlOption = None,
    database_url_file: DatabaseUrlFileOption = None,
    endpoint: EndpointOption = None,
    limit: LimitOption = 1_000,
    json: JsonOption = False,
) -> None:
    """Make dead deliveries due again, the oldest first; a running orders service sends them, under the same ids.

    It tells how many. Exit code 2 when there is no such endpoint.

    [bold]Examples[/bold]

    tradeflow webhooks redrive

    tradeflow webhooks redrive --endpoint 0198c0de-0000-7000-8000-000000000001
    """
    log_to_stderr("ERROR")
    with telling_what_is_in_the_way():
        url = database_or_data_folder(context, "orders", data, database_url, database_url_file)
        now = SystemClock().now()
        redriven = _run(
            url, endpoint, lambda database: redrive_all(database, endpoint_id=endpoint, now=now, rows_max=limit)
        )
    told = msgspec.json.encode({"redriven": redriven}).decode() if json else f"redriven: {redriven}"
    sys.stdout.write(told + "\n")


def _run(url: str, endpoint: UUID | None, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Do the work on a database that has the endpoint, where one is named.

    Raises:
        InvalidArgumentError: It doesn't have it.
    """

    async def run(database: Database) -> T:
        if endpoint is not None and not await endpoint_is_there(database, endpoint):
            raise InvalidArgumentError(
                f"there is no endpoint {endpoint}, or its merchant removed it; "
                "`tradeflow webhooks list` names those with dead deliveries",
                reason="endpoint_unknown",
            )
        return await work(database)

    return on_database(ServiceDatabase("orders", url), run)


def _as_data(one: Undelivered) -> dict[str, object]:
    return {
        "message_id": f"msg_{one.message_id.hex}",
        "endpoint_id": str(one.endpoint_id),
        "url": one.url,
        "event_type": one.event_type,
        "order_id": str(one.order_id),
        "attempts": one.attempts,
        "error": one.error,
        "since": one.updated_at.isoformat(timespec="seconds"),
    }
