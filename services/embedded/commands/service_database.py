"""Which service's database a command is about, and how its URL is given without standing in the process list."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Error as SqliteError
from typing import Annotated, Literal
from urllib.parse import urlunsplit

import typer
from pymysql import MySQLError

from services.embedded.book_source import check_file_exists, check_is_no_folder
from services.embedded.commands.common_options import place_beside, refuse_together
from services.embedded.commands.exit_codes import (
    INTERRUPTED,
    TOO_NEW,
    USAGE,
    VIOLATED,
    end_with,
    told_of_file,
    told_of_rights,
    told_of_tables,
)
from services.embedded.data_folder import DataFolder
from services.embedded.sqlite_url import sqlite_url
from services.ledger.wiring import MIGRATIONS as LEDGER_MIGRATIONS
from services.orders.wiring import MIGRATIONS as ORDERS_MIGRATIONS
from services.runtime.database.port import NotGrantedError, TableMissingError
from services.runtime.database_opening import sqlite_path
from services.runtime.errors import InvalidArgumentError, RefusedError, TradeFlowError
from services.runtime.url_parts import url_parts

ServiceName = Literal["ledger", "orders"]
"""Services that have a database."""

PACKAGES: dict[ServiceName, str] = {"ledger": LEDGER_MIGRATIONS, "orders": ORDERS_MIGRATIONS}
"""Where each one's migrations are."""

ServiceOption = Annotated[ServiceName, typer.Option("--service", help="Whose tables.")]

DatabaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="sqlite:////path/to/file.db or mysql://user:password@host/name. Everybody on the machine can read a "
        "command line: with a password in it, better use the environment or a file.",
    ),
]

DatabaseUrlFileOption = Annotated[
    Path | None,
    typer.Option(
        "--database-url-file", exists=True, dir_okay=False, help="A file with the URL, such as a mounted secret."
    ),
]


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """A service and the database of its tables."""

    service: ServiceName
    url: str

    @property
    def package(self) -> str:
        """Name the package of its migrations."""
        return PACKAGES[self.service]

    @property
    def shown_url(self) -> str:
        """Name the database without its password and options."""
        parts = url_parts(self.url, "database")
        if parts.scheme == "sqlite":
            return self.url
        where = parts.netloc.rpartition("@")[2]
        user = f"{parts.username}@" if parts.username else ""
        return urlunsplit((parts.scheme, f"{user}{where}", parts.path, "", ""))

    @property
    def is_missing_file(self) -> bool:
        """Tell whether it is a SQLite file that nobody has made yet; looking at it would make it."""
        return (
            url_parts(self.url, "database").scheme == "sqlite" and not Path(sqlite_path(self.url, "database")).is_file()
        )


def service_database(service: ServiceName, url: str | None, url_file: Path | None) -> ServiceDatabase:
    """Choose the URL: the option, the file, or the variable that the service itself reads.

    Raises:
        InvalidArgumentError: There is none, or two; or the file can't be read, or is empty; or it names a folder.
    """
    variable = url_variable(service)
    if url is not None and url_file is not None:
        raise InvalidArgumentError("--database-url and --database-url-file: one of them", reason="database_url_missing")
    chosen = url or (_content_of(url_file) if url_file is not None else os.environ.get(variable, ""))
    if not chosen:
        raise InvalidArgumentError(
            f"which database? Set {variable}, or give --database-url-file or --database-url",
            reason="database_url_missing",
        )
    check_is_no_folder(chosen)
    return ServiceDatabase(service, chosen)


def url_variable(service: ServiceName) -> str:
    """Name the variable that the service itself reads."""
    return f"TRADEFLOW_{service.upper()}_DATABASE_URL"


def database_or_data_folder(
    context: typer.Context, service: ServiceName, data: Path, url: str | None, url_file: Path | None
) -> str:
    """Choose the URL as `service_database` does, or else a data folder's, of a database that is there.

    A folder that is typed goes before the environment. A mistyped SQLite file isn't made.

    Raises:
        InvalidArgumentError: Two of them are typed, or the file isn't there.
    """
    refuse_together(context, "--data", "--database-url", "--database-url-file")
    variable = place_beside(context, "--database-url", os.environ.get(url_variable(service)))
    if url is not None or url_file is not None or variable:
        chosen = service_database(service, url, url_file).url
    else:
        folder = DataFolder(data)
        chosen = sqlite_url(folder.ledger_database if service == "ledger" else folder.orders_database)
    check_file_exists(chosen)
    return chosen


def _content_of(url_file: Path) -> str:
    try:
        content = url_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{url_file} can't be read: {error}", reason="database_url_missing") from error
    if not content:
        raise InvalidArgumentError(
            f"{url_file} is empty; it should hold the database's URL", reason="database_url_missing"
        )
    return content


@contextmanager
def telling_what_is_in_the_way() -> Iterator[None]:
    """End with one line and an exit code where a database can't be worked on, or a file can't be written.

    Raises:
        SystemExit: It can't.
    """
    try:
        yield
    except InvalidArgumentError as error:
        end_with(error.message, USAGE)
    except RefusedError as error:
        end_with(error.message, TOO_NEW if error.reason == "database_newer" else VIOLATED)
    except TradeFlowError as error:
        end_with(error.message, VIOLATED)
    except NotGrantedError as error:
        end_with(told_of_rights(error), VIOLATED)
    except TableMissingError as error:
        end_with(told_of_tables(error), VIOLATED)
    except (MySQLError, SqliteError) as error:
        end_with(f"the database refuses: {error}", VIOLATED)
    except OSError as error:
        end_with(told_of_file(error), VIOLATED)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
