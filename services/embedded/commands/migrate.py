"""`tradeflow migrate`: what to do about a service's tables before and after a rollout."""

import asyncio
import sys
from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from services.embedded.commands.common_options import JsonOption, log_to_stderr
from services.embedded.commands.database_work import refuse_another_services
from services.embedded.commands.exit_codes import OK, PENDING, TOO_NEW
from services.embedded.commands.migration_progress import migration_progress
from services.embedded.commands.migration_report import (
    plan_as_data,
    print_plan,
    print_status,
    short_report,
    status_as_data,
)
from services.embedded.commands.service_database import (
    DatabaseUrlFileOption,
    DatabaseUrlOption,
    ServiceDatabase,
    ServiceOption,
    service_database,
    telling_what_is_in_the_way,
)
from services.embedded.story.stage import new_console
from services.runtime.database.dialect import translate
from services.runtime.database.migration_modules import PHASES, migrations_of
from services.runtime.database.migrations import migrate
from services.runtime.database.schema_state import SchemaState, read_schema_state, refuse_unusable, schema_state_of
from services.runtime.database_opening import open_database
from services.runtime.errors import InvalidArgumentError

Phase = Literal["pre", "post", "all"]

PhaseOption = Annotated[
    Phase,
    typer.Option("--phase", help="pre: additions, before the rollout. post: what takes away, after it. all: both."),
]

HELP = """Bring a service's tables up to date: [bold]pre[/bold], roll out, [bold]post[/bold].

Migrations of the phase pre only add: the code that runs now works on. Those of the phase post take away what no running
code uses any more. So an upgrade without an interruption is

tradeflow migrate plan --service ledger --phase pre    [dim]# read it; large tables take their time[/dim]

tradeflow migrate apply --service ledger --phase pre

[dim]# … roll out the new release, and once no old process runs:[/dim]

tradeflow migrate apply --service ledger --phase post

The same for --service orders. The database is the one that the service's own variable names
(TRADEFLOW_LEDGER_DATABASE_URL, TRADEFLOW_ORDERS_DATABASE_URL); its user needs the rights of `tradeflow grants SERVICE
--role migrator`. After new tables, run `tradeflow grants` for the service's own user. Services do all of it by
themselves at their start, unless TRADEFLOW_LEDGER_MIGRATE_ON_START=false.
"""

EPILOG = """[bold]Exit codes[/bold] 0 up to date, or applied · 1 failed on the way; run it again, it goes on where it \
stopped · 2 it could not begin · 3 migrations are pending (status, plan) · 4 the database is newer than this \
code bears"""

ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        dir_okay=False,
        help="Write a short report for who started this, such as /dev/termination-log of a container; the exit code is "
        "then 0 where the plan could be made.",
    ),
]

ApprovedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--approved", help="A migration that may run; may be repeated. Any other that is pending stops it all."
    ),
]

app = typer.Typer(no_args_is_help=True, help=HELP, epilog=EPILOG)


@app.command()
def status(
    *,
    service: ServiceOption,
    database_url: DatabaseUrlOption = None,
    database_url_file: DatabaseUrlFileOption = None,
    phase: PhaseOption = "all",
    json: JsonOption = False,
) -> None:
    """Show which migrations are applied and which are pending. Writes nothing.

    Exit code 0 when none is pending in the phase, 3 when some are, 4 when the database is newer than this code bears.

    [bold]Examples[/bold]

    tradeflow migrate status --service ledger

    tradeflow migrate status --service orders --database-url-file /run/secrets/orders-url --phase pre --json
    """
    log_to_stderr("ERROR")
    with telling_what_is_in_the_way():
        target = service_database(service, database_url, database_url_file)
        state = asyncio.run(_state_of(target))
        if json:
            _print_json(status_as_data(target, state))
        else:
            print_status(new_console(), target, state)
        if state.too_new:
            raise typer.Exit(TOO_NEW)
        refuse_unusable(state)
    raise typer.Exit(PENDING if state.pending_in(_phases(phase)) else OK)


@app.command()
def plan(
    *,
    service: ServiceOption,
    database_url: DatabaseUrlOption = None,
    database_url_file: DatabaseUrlFileOption = None,
    phase: PhaseOption = "all",
    json: JsonOption = False,
    report: ReportOption = None,
) -> None:
    """Print the SQL that `apply` would run, in the words of this server. Writes nothing.

    Exit code 0 when there is nothing to do, 3 when there is.

    [bold]Examples[/bold]

    tradeflow migrate plan --service ledger

    tradeflow migrate plan --service ledger --phase post --json
    """
    log_to_stderr("ERROR")
    with telling_what_is_in_the_way():
        target = service_database(service, database_url, database_url_file)
        state, texts = asyncio.run(_plan_of(target, _phases(phase)))
        refuse_unusable(state)
        if report is not None:
            report.write_bytes(short_report(state, texts))
    if json:
        _print_json(plan_as_data(target, state, texts))
    else:
        print_plan(target, state, texts)
    if report is not None:
        raise typer.Exit(OK)
    raise typer.Exit(PENDING if texts else OK)


@app.command()
def apply(
    *,
    service: ServiceOption,
    database_url: DatabaseUrlOption = None,
    database_url_file: DatabaseUrlFileOption = None,
    phase: PhaseOption = "all",
    approved: ApprovedOption = None,
) -> None:
    """Run the pending migrations; asks nothing.

    One process migrates at a time; a second one waits for it. Killed at any statement it goes on there when it is run
    again, a killed process's turn being over after 15 seconds. Each statement is told on stderr as it begins.

    [bold]Examples[/bold]

    tradeflow migrate apply --service ledger --phase pre

    TRADEFLOW_ORDERS_DATABASE_URL=mysql://… tradeflow migrate apply --service orders
    """
    log_to_stderr("WARNING")
    with telling_what_is_in_the_way():
        target = service_database(service, database_url, database_url_file)
        state = asyncio.run(_state_of(target))
        if approved is not None:
            _refuse_unknown(target, state, approved)
            _refuse_others(state, _phases(phase), frozenset(approved))
        applied = asyncio.run(_apply(target, _phases(phase)))
    for name in applied:
        sys.stdout.write(f"applied {name}\n")
    if not applied:
        sys.stdout.write("nothing to do\n")


def _phases(phase: Phase) -> tuple[str, ...]:
    return PHASES if phase == "all" else (phase,)


def _refuse_unknown(target: ServiceDatabase, state: SchemaState, approved: Sequence[str]) -> None:
    """Refuse a name that is mistyped. One that newer code gave is none: somebody has approved it there.

    Raises:
        InvalidArgumentError: Neither the code nor the database has such a migration.
    """
    names = [migration.name for migration in migrations_of(target.package)]
    known = {*names, *(each.name for each in state.applied)}
    if unknown := [name for name in approved if name not in known]:
        raise InvalidArgumentError(
            f"--approved: {target.service} has no migration {', '.join(unknown)}; it has: {', '.join(names)}",
            reason="migration_unknown",
        )


def _refuse_others(state: SchemaState, phases: tuple[str, ...], approved: frozenset[str]) -> None:
    """Stop before anything runs that nobody has seen.

    Raises:
        InvalidArgumentError: Another migration is pending.
    """
    others = [migration.name for migration in state.pending_in(phases) if migration.name not in approved]
    if others:
        raise InvalidArgumentError(f"not approved: {', '.join(others)}", reason="migration_not_approved")


async def _state_of(target: ServiceDatabase) -> SchemaState:
    """Compare a database with the service's migrations.

    Raises:
        InvalidArgumentError: It is another service's.
    """
    migrations = migrations_of(target.package)
    if target.is_missing_file:
        return schema_state_of(migrations, (), {})
    database = open_database(target.url)
    try:
        state = await read_schema_state(database, migrations)
    finally:
        await database.close()
    refuse_another_services(target, state)
    return state


async def _plan_of(target: ServiceDatabase, phases: tuple[str, ...]) -> tuple[SchemaState, dict[str, list[str]]]:
    """Return where the database stands and, by migration, the statements in the server's words."""
    state = await _state_of(target)
    due = state.pending_in(phases)
    if target.is_missing_file:
        return state, {each.name: [cleandoc(translate(sql).text) for sql in each.statements] for each in due}
    database = open_database(target.url)
    try:
        return state, {each.name: [cleandoc(await database.translated(sql)) for sql in each.statements] for each in due}
    finally:
        await database.close()


async def _apply(target: ServiceDatabase, phases: tuple[str, ...]) -> list[str]:
    database = open_database(target.url)
    try:
        with migration_progress() as on_statement:
            return await migrate(database, target.package, phases=phases, on_statement=on_statement)
    finally:
        await database.close()


def _print_json(told: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
