"""Runs the operator: `python -m tradeflow_operator [run]`, or says what it would do: `plan -f resource.yaml`."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from tradeflow_operator.errors import OperatorError
from tradeflow_operator.log import configure_logging
from tradeflow_operator.planning import plan_file
from tradeflow_operator.settings import OperatorSettings, load_settings
from tradeflow_operator.startup import RunningOperator, running

logger = structlog.get_logger(__name__)

STOP_SECONDS_MAX = 20.0
"""How long stopping may take; Kubernetes kills after 30 s."""

EXIT_CODE_OF_FAILURE = 1
"""A loop ended by itself, stopping took too long, or a resource couldn't be planned."""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tradeflow_operator", description="TradeFlow's operator.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="serve the cluster until a signal; the default")
    planning = commands.add_parser("plan", help="print what would be done for resources in a file; write nothing")
    planning.add_argument("-f", "--filename", type=Path, required=True, help="a YAML file of resources")
    planning.add_argument("-n", "--namespace", default="default", help="of resources that name none")
    arguments = parser.parse_args()
    settings = load_settings()
    configure_logging(level=settings.log_level, log_format=settings.log_format)
    if arguments.command == "plan":
        asyncio.run(_plan(settings, arguments.filename, arguments.namespace))
    else:
        asyncio.run(_serve(settings))


async def _plan(settings: OperatorSettings, file: Path, namespace: str) -> None:
    try:
        planned = await plan_file(settings, file, namespace=namespace)
    except OperatorError as error:
        print(f"{error.reason}: {error.message}", file=sys.stderr)
        raise SystemExit(EXIT_CODE_OF_FAILURE) from error
    for resource in planned:
        print(resource.text())
    if any(resource.problem for resource in planned):
        raise SystemExit(EXIT_CODE_OF_FAILURE)


async def _serve(settings: OperatorSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    _stop_on_signals(loop, stop)
    async with running(settings) as operator:
        logger.info("operator_started", http_port=operator.http_port)
        taking_back = asyncio.create_task(_take_signals_back(operator, stop))
        stopping = asyncio.create_task(stop.wait())
        ending = asyncio.create_task(operator.loops.wait_for_an_end())
        await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
        ended_by_itself = not stop.is_set()
        for waiting in (stopping, ending, taking_back):
            waiting.cancel()
        loop.call_later(STOP_SECONDS_MAX, os._exit, EXIT_CODE_OF_FAILURE)
    logger.info("operator_stopped")
    if ended_by_itself:
        raise SystemExit(EXIT_CODE_OF_FAILURE)


async def _take_signals_back(operator: RunningOperator, stop: asyncio.Event) -> None:
    """Handle signals again once kopf has begun: it takes them, and would stop watching before the work has ended."""
    await operator.watches_began.wait()
    _stop_on_signals(asyncio.get_running_loop(), stop)


def _stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


if __name__ == "__main__":
    main()
