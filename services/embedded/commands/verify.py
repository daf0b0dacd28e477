"""`tradeflow verify`: every invariant, on a data folder; or a ledger's book, by its database's URL."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from pymysql import MySQLError
from pymysql.constants import ER

from services.embedded.book_source import (
    DEFAULT_BOOK,
    NUMBER_MAX,
    BookOption,
    BookSource,
    DatabaseOption,
    book_source,
    check_file_exists,
)
from services.embedded.commands.common_options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    log_errors_but_kafkas,
    place_beside,
    refuse_alone,
)
from services.embedded.commands.database_work import check_whose_it_is
from services.embedded.commands.exit_codes import INTERRUPTED, OK, USAGE, VIOLATED, end_with, told_of_rights
from services.embedded.commands.progress_bar import progress_bar
from services.embedded.commands.report import print_report, report_as_data
from services.embedded.commands.service_database import ServiceDatabase, ServiceName
from services.embedded.data_folder import DataFolder
from services.embedded.invariants import CheckedInvariant
from services.embedded.sqlite_url import sqlite_url
from services.embedded.story.stage import new_console
from services.embedded.verification.deployment import Deployment, verify_deployment
from services.embedded.verification.folder import verify_folder
from services.embedded.verification.progress import Progress
from services.embedded.verification.sqlite_files import UNREADABLE
from services.ledger.proof.head_file import HeadFile, decode_head_file
from services.runtime.broker.opening import check_broker_url
from services.runtime.database.port import NotGrantedError
from services.runtime.errors import InvalidArgumentError, TradeFlowError

FromOption = Annotated[
    int,
    typer.Option(
        "--from",
        min=1,
        max=NUMBER_MAX,
        metavar="SEQUENCE",
        help="Check the journal from this record on; those before it are believed.",
    ),
]

HeadOption = Annotated[
    Path | None,
    typer.Option(
        "--head",
        exists=True,
        dir_okay=False,
        help="A signed head that was kept elsewhere (`tradeflow ledger head`): the journal must still fit it.",
    ),
]

OrdersDatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--orders-database",
        envvar="TRADEFLOW_ORDERS_DATABASE_URL",
        show_envvar=True,
        help="Beside --database: the orders service's database; each order is compared with the ledger.",
    ),
]

BrokerOption = Annotated[
    str | None,
    typer.Option(
        "--broker",
        envvar="TRADEFLOW_LEDGER_BROKER_URL",
        show_envvar=True,
        help="Beside --database: where events are published: kafka://…; none may be missing there.",
    ),
]


def verify(
    context: typer.Context,
    *,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
    orders_database: OrdersDatabaseOption = None,
    broker: BrokerOption = None,
    book: BookOption = DEFAULT_BOOK,
    from_sequence: FromOption = 1,
    head: HeadOption = None,
    json: JsonOption = False,
) -> None:
    """Check every invariant on a data folder, whether its platform runs or not.

    The whole journal is hashed anew, balances and holds are computed anew from its postings, its tree is compared with
    what was signed, and each order is compared with the ledger. It changes nothing, and its memory doesn't grow with
    the book. One line an invariant, the first broken record first; exit code 0 when all hold, 1 when one is violated, 2
    when there is nothing to look at.

    Whoever can write the database can cut the journal's end and adjust all that is left. Keep signed heads elsewhere,
    and give one with --head: then that shows too.

    Of services with servers of their own, what is checked depends on what is given: with --database the ledger's own
    invariants, with --orders-database each order too, with --broker the published events. Orders and ledger are then
    taken to be running: what is under way gets ten seconds.

    [bold]Examples[/bold]

    tradeflow verify

    tradeflow verify --data /tmp/shop --json

    tradeflow ledger head > /mnt/elsewhere/head.json    [dim]# today[/dim]

    tradeflow verify --head /mnt/elsewhere/head.json    [dim]# any later day[/dim]
    """
    log_errors_but_kafkas()
    with _telling_what_is_in_the_way():
        kept = decode_head_file(head.read_bytes()) if head is not None else None
        database = place_beside(context, "--database", database)
        if database is None:
            refuse_alone(context, "--database", "--orders-database", "--broker", "--book")
            checked = _run(_on_folder(data, from_sequence, kept))
        else:
            source = book_source(data, database, None, book)
            _check_places(source, orders_database, broker)
            deployment = Deployment(book=source, orders_url=orders_database, broker_url=broker, is_running=True)
            checked = _run(lambda told: verify_deployment(deployment, told, from_sequence=from_sequence, kept=kept))
    if json:
        sys.stdout.write(msgspec.json.encode(report_as_data(checked)).decode() + "\n")
    else:
        print_report(new_console(), checked)
    raise typer.Exit(OK if all(one.holds for one in checked) else VIOLATED)


NOT_ENTERED = frozenset({ER.ACCESS_DENIED_ERROR, ER.BAD_DB_ERROR})
"""MySQL's words for a wrong password, and for a database that it doesn't have."""

Verification = Callable[[Progress], Coroutine[Any, Any, list[CheckedInvariant]]]


def _on_folder(data: Path, from_sequence: int, kept: HeadFile | None) -> Verification:
    folder = DataFolder(data)
    folder.check_databases_exist()
    _check_is_of("ledger", sqlite_url(folder.ledger_database))
    _check_is_of("orders", sqlite_url(folder.orders_database))
    return lambda told: verify_folder(folder, told, from_sequence=from_sequence, kept=kept)


def _check_places(source: BookSource, orders_database: str | None, broker: str | None) -> None:
    """Refuse places where there is nothing to look at, which else would be told as violations.

    Raises:
        InvalidArgumentError: A URL is malformed, a file isn't there, or a database is another service's.
        UnavailableError: A database can't be reached.
    """
    _check_is_of("ledger", source.database_url)
    if orders_database is not None:
        check_file_exists(orders_database)
        _check_is_of("orders", orders_database)
    if broker is not None:
        check_broker_url(broker)
        check_file_exists(broker)


def _check_is_of(service: ServiceName, url: str) -> None:
    # What damage makes of the look is for the verification to find.
    with suppress(*UNREADABLE):
        try:
            check_whose_it_is(ServiceDatabase(service, url))
        except MySQLError as error:
            if error.args[0] in NOT_ENTERED:
                raise InvalidArgumentError(f"the database refuses: {error}", reason="database_not_entered") from error


def _run(verification: Verification) -> list[CheckedInvariant]:
    with progress_bar("verifying") as told:
        return asyncio.run(verification(told))


@contextmanager
def _telling_what_is_in_the_way() -> Iterator[None]:
    try:
        yield
    except TradeFlowError as error:
        end_with(error.message, USAGE)
    except NotGrantedError as error:
        end_with(told_of_rights(error), USAGE)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
