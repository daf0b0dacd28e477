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


def place_beside(context: typer.Context, option: str, place: str | None) -> str | None:
    """Choose between a data folder and a place that is named instead of one: what is typed goes before the environment.

    Returns:
        The place; None where it is the data folder's.

    Raises:
        InvalidArgumentError: Both are typed.
    """
    refuse_together(context, "--data", option)
    return None if _is_typed(context, "--data") else place


def refuse_together(context: typer.Context, option: str, *others: str) -> None:
    """Refuse an option beside others that say the same in another way.

    Raises:
        InvalidArgumentError: It is typed, and so is one of them.
    """
    for other in others:
        if _is_typed(context, option) and _is_typed(context, other):
            raise InvalidArgumentError(f"{option} and {other}: one of them", reason="options_exclude_each_other")


def refuse_alone(context: typer.Context, needed: str, *options: str) -> None:
    """Refuse options that mean nothing without another one, instead of passing them over.

    What only the environment says is passed over: a service's variables may be set for other reasons.

    Raises:
        InvalidArgumentError: One of them stands on the command line.
    """
    for option in options:
        if _is_typed(context, option):
            raise InvalidArgumentError(f"{option} needs {needed}", reason="option_alone")


def _is_typed(context: typer.Context, option: str) -> bool:
    """Tell whether an option stands on the command line."""
    source = context.get_parameter_source(option.removeprefix("--").replace("-", "_"))
    return source is not None and source.name == "COMMANDLINE"
