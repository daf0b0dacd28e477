"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from services.embedded.data_folder import DEFAULT_DATA_FOLDER
from services.embedded.options import LOOPBACK
from services.runtime.log import configure_logging

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="TRADEFLOW_DATA",
        file_okay=False,
        help="The folder with ledger.db, orders.db, broker.db, keys/ and secrets.json.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs instead of text for people.")]

LogLevelOption = Annotated[
    LogLevel, typer.Option("--log-level", case_sensitive=False, help="The least level that is logged, to stderr.")
]

HostOption = Annotated[str, typer.Option("--host", help="The address to listen on; the default is this machine only.")]

DEFAULT_HOST = LOOPBACK
"""See HostOption."""

DEFAULT_DATA = DEFAULT_DATA_FOLDER
"""See DataOption."""

DEFAULT_LOG_LEVEL: LogLevel = "WARNING"
"""Services tell each step at INFO, which would bury what a person wants to read."""


def log_to_stderr(level: LogLevel) -> None:
    """Log for people on a terminal."""
    configure_logging(level=level, log_format="console")
