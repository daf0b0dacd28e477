"""`tradeflow verify`: every invariant, on a data folder."""

import asyncio
import sys

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from services.embedded.commands.common_options import DEFAULT_DATA, DataOption, JsonOption, log_to_stderr
from services.embedded.commands.exit_codes import INTERRUPTED, OK, USAGE, VIOLATED, end_with
from services.embedded.commands.report import print_report, report_as_data
from services.embedded.data_folder import BadDataFolderError, DataFolder
from services.embedded.invariants import CheckedInvariant, all_hold
from services.embedded.story.stage import new_console
from services.embedded.verification.folder import verify_folder


def verify(*, data: DataOption = DEFAULT_DATA, json: JsonOption = False) -> None:
    """Check every invariant on a data folder, whether its platform runs or not.

    The whole journal is hashed anew, balances and holds are computed anew from its postings, and each order is compared
    with the ledger. It changes nothing. One line an invariant; exit code 0 when all hold, 1 when one is violated, 2
    when there is nothing to look at.

    [bold]Examples[/bold]

    tradeflow verify

    tradeflow verify --data /tmp/shop --json
    """
    log_to_stderr("ERROR")
    folder = DataFolder(data)
    try:
        folder.check_databases_exist()
        checked = asyncio.run(_verify_with_progress(folder))
    except BadDataFolderError as error:
        end_with(error.message, USAGE)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if json:
        sys.stdout.write(msgspec.json.encode(report_as_data(checked)).decode() + "\n")
    else:
        print_report(new_console(), checked)
    raise typer.Exit(OK if all_hold(checked) else VIOLATED)


async def _verify_with_progress(folder: DataFolder) -> list[CheckedInvariant]:
    """Show on stderr how far it is, if that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("verifying", total=None)

        def on_progress(phase: str, done: int, total: int) -> None:
            progress.update(task, description=phase, completed=done, total=total or None)

        return await verify_folder(folder, on_progress)
