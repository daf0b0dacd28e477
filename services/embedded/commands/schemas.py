"""`tradeflow schemas`: the schemas of the events in a schema registry, for installations that have no operator."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated

import msgspec
import typer

from services.embedded.commands.common_options import JsonOption, log_to_stderr
from services.embedded.commands.exit_codes import OK, USAGE, VIOLATED, end_with
from services.ledger.outbound.event_contract import WALLET_EVENTS
from services.orders.outbound.event_contract import ORDER_EVENTS
from services.runtime.errors import TradeFlowError
from services.runtime.registry.client import RegistryClient
from services.runtime.registry.registration import (
    COMPATIBILITY_LEVEL,
    Subject,
    SubjectReport,
    SubjectState,
    check_subjects,
    register_subjects,
    subjects_of,
)

CONTRACTS = (ORDER_EVENTS, WALLET_EVENTS)
"""All that TradeFlow publishes."""

RegistryOption = Annotated[
    str,
    typer.Option(
        "--registry",
        envvar="TRADEFLOW_SCHEMA_REGISTRY_URL",
        help="The registry: https://user:password@host/path?ca_file=… or ?password_file=…",
    ),
]

PrefixOption = Annotated[
    str,
    typer.Option("--topic-prefix", help="What this installation's topics begin with: the broker URL's topic_prefix."),
]

app = typer.Typer(no_args_is_help=True, help="The schemas of the events, in a schema registry.")


@app.command("check")
def check(*, registry: RegistryOption, topic_prefix: PrefixOption = "", json: JsonOption = False) -> None:
    """Say whether the registry has the schemas of all events, and whether it can take those that it lacks.

    Each schema is compared with every version that is registered: fields keep number, type and name. Nothing is
    written. Exit code 0 when the registry has all of them, 1 when some are missing or incompatible, 2 when the registry
    can't be asked.

    [bold]Examples[/bold]

    tradeflow schemas check --registry http://127.0.0.1:8081/apis/ccompat/v7
    """
    _run(registry, topic_prefix, check_subjects, json=json, done=frozenset({SubjectState.CURRENT}))


@app.command("register")
def register(*, registry: RegistryOption, topic_prefix: PrefixOption = "", json: JsonOption = False) -> None:
    """Register the schemas that the registry lacks, unless they would break who reads older events.

    `check` says beforehand what this does. Imports come first, under their paths; subjects are named after topics
    (order-events-value). Each subject is set to BACKWARD_TRANSITIVE, so that the registry refuses what breaks readers,
    whoever registers it. Nothing is ever deleted; a refused schema leaves everything as it was. Running it again
    changes nothing.

    [bold]Examples[/bold]

    tradeflow schemas register --registry http://127.0.0.1:8081/apis/ccompat/v7 --topic-prefix shop1.
    """
    done = frozenset({SubjectState.CURRENT, SubjectState.REGISTERED})
    _run(registry, topic_prefix, register_subjects, json=json, done=done)


Job = Callable[[RegistryClient, Sequence[Subject]], AsyncIterator[SubjectReport]]


def _run(registry: str, topic_prefix: str, job: Job, *, json: bool, done: frozenset[SubjectState]) -> None:
    log_to_stderr("ERROR")
    subjects = subjects_of(CONTRACTS, outer_name=lambda topic: f"{topic_prefix}{topic}")
    try:
        reports = asyncio.run(_reports(registry, subjects, job))
    except TradeFlowError as error:
        end_with(error.message, USAGE)
    if json:
        sys.stdout.write(msgspec.json.encode({"level": COMPATIBILITY_LEVEL, "subjects": reports}).decode() + "\n")
    else:
        _print(reports)
    raise typer.Exit(OK if all(report.state in done for report in reports) else VIOLATED)


async def _reports(registry: str, subjects: Sequence[Subject], job: Job) -> list[SubjectReport]:
    client = RegistryClient(registry)
    try:
        return [report async for report in job(client, subjects)]
    finally:
        await client.close()


def _print(reports: Sequence[SubjectReport]) -> None:
    width = max(len(report.subject) for report in reports)
    for report in reports:
        place = f"id {report.schema_id}, version {report.version}" if report.schema_id is not None else ""
        typer.echo(f"{report.subject:{width}}  {report.state:12}  {place}".rstrip())
        for finding in report.findings:
            typer.echo(f"  {finding}")
