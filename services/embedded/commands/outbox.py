"""`tradeflow outbox`: what waits to be published, for how long, and who publishes it."""

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from rich.table import Table

from services.embedded.book_source import NUMBER_MAX
from services.embedded.commands.common_options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    log_to_stderr,
    place_beside,
)
from services.embedded.commands.database_work import on_database
from services.embedded.commands.service_database import (
    PACKAGES,
    DatabaseUrlFileOption,
    DatabaseUrlOption,
    ServiceDatabase,
    ServiceName,
    database_or_data_folder,
    telling_what_is_in_the_way,
    url_variable,
)
from services.embedded.story.stage import new_console
from services.runtime.clock import SystemClock
from services.runtime.database.port import Database
from services.runtime.errors import InvalidArgumentError
from services.runtime.outbox_packs import OutboxEvent
from services.runtime.outbox_status import StreamStatus, events_after, outbox_status

app = typer.Typer(no_args_is_help=True, help="Events on their way from a service's database to the broker.")

StatusServiceOption = Annotated[
    ServiceName | None,
    typer.Option("--service", help="Whose outbox; without it, both. A database's URL needs it."),
]

ShowServiceOption = Annotated[
    ServiceName | None,
    typer.Option(
        "--service",
        help="Whose outbox; without it, that of orders for the stream `orders`, else the ledger's. "
        "A database's URL needs it.",
    ),
]

T = TypeVar("T")


@app.command()
def status(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    service: StatusServiceOption = None,
    database_url: DatabaseUrlOption = None,
    database_url_file: DatabaseUrlFileOption = None,
    json: JsonOption = False,
) -> None:
    """Tell for each stream how far it is published, what waits, and who holds its lease. Changes nothing.

    A relay that stands still shows as a lag whose age grows. A lease that ended while events wait means that no relay
    runs at all.

    [bold]Examples[/bold]

    tradeflow outbox status

    tradeflow outbox status --service orders --database-url-file /secrets/orders-url --json
    """
    log_to_stderr("ERROR")
    now = SystemClock().now()
    with telling_what_is_in_the_way():
        databases = _databases(context, data, service, database_url, database_url_file)
        streams = {name: on_database(ServiceDatabase(name, url), outbox_status) for name, url in databases.items()}
    if json:
        told = [_as_data(name, one, now) for name, some in streams.items() for one in some]
        sys.stdout.write(msgspec.json.encode({"streams": told}).decode() + "\n")
        return
    table = Table(box=None)
    for column in ("service", "stream", "published", "last", "lag", "waiting for", "rows", "lease"):
        table.add_column(column)
    for name, some in streams.items():
        for one in some:
            table.add_row(name, *_cells(one, now))
    new_console().print(table)


@app.command()
def show(
    context: typer.Context,
    stream: Annotated[
        str, typer.Argument(metavar="STREAM", help="The stream's name, as `status` tells it: orders, or book:1.")
    ],
    *,
    data: DataOption = DEFAULT_DATA,
    service: ShowServiceOption = None,
    database_url: DatabaseUrlOption = None,
    database_url_file: DatabaseUrlFileOption = None,
    after: Annotated[
        int | None,
        typer.Option("--after", min=0, max=NUMBER_MAX, help="Events behind this number; without it, those that wait."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only events of this key: an order's or a wallet's id.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many events at most.")] = 50,
    json: JsonOption = False,
) -> None:
    """List the events of a stream, oldest first. Changes nothing.

    Exit code 2 when there is no such stream, or no event of the key that was asked for.

    [bold]Examples[/bold]

    tradeflow outbox show orders    [dim]# what waits[/dim]

    tradeflow outbox show orders --after 0 --limit 10    [dim]# the oldest that are kept[/dim]

    tradeflow outbox show book:1 --after 0 --key 0198c0de-0000-7000-8000-000000000001    [dim]# a wallet's[/dim]
    """
    log_to_stderr("ERROR")
    with telling_what_is_in_the_way():
        chosen = service or ("orders" if stream == "orders" else "ledger")
        (url,) = _databases(context, data, chosen, database_url, database_url_file).values()
        events = on_database(
            ServiceDatabase(chosen, url),
            lambda database: _events(database, chosen, stream, after=after, key=key, limit=limit),
        )
        if key is not None and not events:
            raise _key_not_found(stream, key, after)
    told = [_event_as_data(sequence, event) for sequence, event in events]
    if json:
        sys.stdout.write(msgspec.json.encode({"stream": stream, "events": told}).decode() + "\n")
        return
    table = Table(box=None)
    for column in ("number", "recorded at", "topic", "key", "type", "event id", "bytes"):
        table.add_column(column)
    for one in told:
        table.add_row(*(str(value) for value in one.values()))
    new_console().print(table)


def _databases(
    context: typer.Context, data: Path, service: ServiceName | None, url: str | None, url_file: Path | None
) -> dict[ServiceName, str]:
    """Choose one service's database by its URL, those that the environment names, or those of the data folder.

    Raises:
        InvalidArgumentError: There is a URL and no service, or a data folder too, or no database.
    """
    if service is None and (url is not None or url_file is not None):
        raise InvalidArgumentError("whose database is it? Give --service too", reason="service_missing")
    chosen: list[ServiceName] = [service] if service else _named_by_environment(context) or list(PACKAGES)
    return {name: database_or_data_folder(context, name, data, url, url_file) for name in chosen}


def _named_by_environment(context: typer.Context) -> list[ServiceName]:
    """List the services whose variables are set, as in a service's pod, unless a data folder is typed."""
    return [name for name in PACKAGES if place_beside(context, "--database-url", os.environ.get(url_variable(name)))]


async def _events(
    database: Database, service: ServiceName, stream: str, *, after: int | None, key: str | None, limit: int
) -> list[tuple[int, OutboxEvent]]:
    cursors = {one.stream: one.cursor_sequence for one in await outbox_status(database)}
    if stream not in cursors:
        there = f"there is: {', '.join(cursors)}" if cursors else "it has none yet"
        raise InvalidArgumentError(
            f"the outbox of {service} has no stream {stream!r}; {there}", reason="stream_unknown"
        )
    if after is None:
        after = cursors[stream]
    found: list[tuple[int, OutboxEvent]] = []
    async for sequence, event in events_after(database, stream, after_sequence=after):
        if key is None or event.key == key.encode():
            found.append((sequence, event))
        if len(found) == limit:
            break
    return found


def _key_not_found(stream: str, key: str, after: int | None) -> InvalidArgumentError:
    if after is None:
        message = f"no event of key {key!r} waits in {stream}; with --after 0 those that were published are listed too"
    else:
        message = f"no event of key {key!r} is kept in {stream} behind number {after}"
    return InvalidArgumentError(message, reason="key_unknown")


def _as_data(service: str, one: StreamStatus, now: datetime) -> dict[str, object]:
    return {
        "service": service,
        **{name: getattr(one, name) for name in StreamStatus.__dataclass_fields__},
        "lag_seconds": (now - one.waiting_since).total_seconds() if one.waiting_since else 0.0,
        "lease_is_held": one.lease_expires_at is not None and one.lease_expires_at > now,
    }


def _event_as_data(sequence: int, event: OutboxEvent) -> dict[str, object]:
    return {
        "sequence": sequence,
        "recorded_at": event.recorded_at.isoformat(),
        "topic": event.topic,
        "key": event.key.decode(errors="replace"),
        "event_type": event.event_type.rpartition(".")[2],
        "event_id": str(event.event_id),
        "payload_bytes": len(event.payload),
    }


def _cells(one: StreamStatus, now: datetime) -> list[str]:
    waiting = timedelta(0) if one.waiting_since is None else now - one.waiting_since
    if one.lease_expires_at is None or one.lease_holder is None:
        lease = "never taken"
    elif one.lease_expires_at > now:
        lease = f"{one.lease_holder} for {(one.lease_expires_at - now).total_seconds():.1f} s"
    else:
        lease = f"free, last {one.lease_holder}"
    seconds = f"{waiting.total_seconds():,.1f} s" if one.waiting_since else "-"
    return [
        one.stream,
        f"{one.cursor_sequence:,}",
        f"{one.last_sequence:,}",
        f"{one.lag_events:,}",
        seconds,
        f"{one.rows:,}",
        lease,
    ]
