"""Options that several commands have."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from services.embedded.data_folder import DEFAULT_DATA_FOLDER
from services.embedded.options import LOOPBACK
from services.runtime.errors import InvalidArgumentError
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

KAFKA_LIBRARY = "librdkafka"
"""The name of its logger; loading the adapter for it takes longer than most commands."""

DEFAULT_LOG_LEVEL: LogLevel = "WARNING"
"""Services tell each step at INFO, which would bury what a person wants to read."""


def log_to_stderr(level: LogLevel) -> None:
    """Log for people on a terminal."""
    configure_logging(level=level, log_format="console")


def log_errors_but_kafkas() -> None:
    """Log errors for people, and let the command alone tell that a Kafka doesn't answer.

    Its library says so many times a second, as errors.
    """
    log_to_stderr("ERROR")
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: record.name != KAFKA_LIBRARY)


def refuse_alone(context: typer.Context, needed: str, *options: str) -> None:
    """Refuse options that mean nothing without another one, instead of passing them over.

    What only the environment says is passed over: a service's variables may be set for other reasons.

    Raises:
        InvalidArgumentError: One of them stands on the command line.
    """
    for option in options:
        name = option.removeprefix("--").replace("-", "_")
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InvalidArgumentError(f"{option} needs {needed}", reason="option_alone")
