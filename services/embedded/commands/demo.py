"""`tradeflow demo`: one order's whole story, and the invariants."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.embedded.commands.common_options import DEFAULT_LOG_LEVEL, LogLevelOption, log_to_stderr
from services.embedded.commands.exit_codes import INTERRUPTED, OK, USAGE, VIOLATED, end_with
from services.embedded.commands.report import print_report
from services.embedded.data_folder import DataFolder
from services.embedded.invariants import CheckedInvariant, all_hold
from services.embedded.options import on_free_ports
from services.embedded.starting import CannotStartError, started_platform
from services.embedded.story.scenes import StoryError
from services.embedded.story.stage import Stage, new_console
from services.embedded.story.telling import tell_story
from services.embedded.story.wallet_watch import EventMissingError
from services.embedded.verification.folder import verify_folder
from services.runtime.errors import TradeFlowError


def demo(
    *,
    data: Annotated[
        Path | None, typer.Option(file_okay=False, help="Use this folder and keep it, instead of a temporary one.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Make no pauses, also on a terminal.")] = False,
    log_level: LogLevelOption = DEFAULT_LOG_LEVEL,
) -> None:
    """Tell one order's whole story on a fresh platform, and check the invariants.

    Sign-up, products, a deposit, an order of two sellers, reservation, settlement, live wallets, a refund, a refused
    overdraft: everything through the public API over HTTP and WebSocket, on free ports. The last lines are the
    invariants, each with its check mark. Exit code 1 when one is violated or the story goes wrong.

    [bold]Examples[/bold]

    tradeflow demo

    tradeflow demo --fast --data /tmp/demo && tradeflow verify --data /tmp/demo
    """
    log_to_stderr(log_level)
    console = new_console()
    with _folder(data) as folder:
        try:
            checked = asyncio.run(_tell_and_check(folder, Stage(console, fast=fast)))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except CannotStartError as error:
            end_with(str(error), USAGE)
        except (StoryError, EventMissingError, TradeFlowError) as error:
            end_with(f"the story went wrong: {error}", VIOLATED)
    _finish(console, checked)


def _finish(console: Console, checked: Sequence[CheckedInvariant]) -> None:
    """Print the invariants as the very last lines."""
    console.print()
    console.rule("[bold cyan]The invariants, checked", align="left")
    print_report(console, checked)
    raise typer.Exit(OK if all_hold(checked) else VIOLATED)


async def _tell_and_check(folder: Path, stage: Stage) -> list[CheckedInvariant]:
    async with started_platform(on_free_ports(folder)) as running:
        await tell_story(running, stage)
    return await verify_folder(DataFolder(folder))


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="tradeflow-demo-") as temporary:
        yield Path(temporary)
