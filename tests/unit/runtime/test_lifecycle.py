"""Signals belong to a whole process, so each test starts one."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
END_SECONDS_MAX = 20

PRELUDE = """
import asyncio, sys, time
from contextlib import asynccontextmanager
from services.runtime.lifecycle import run_until_signalled
from services.runtime.log import configure_logging

configure_logging()

def say(text):
    print(text, flush=True)
"""

ORDERLY = """
@asynccontextmanager
async def running():
    say("starting")
    try:
        yield "127.0.0.1:5000"
    finally:
        await asyncio.sleep(0.05)
        say("stopped in order")

run_until_signalled(running(), on_started=lambda address: say(f"started on {address}"))
say("returned")
"""

SLOW_TO_START = """
@asynccontextmanager
async def running():
    say("starting")
    try:
        await asyncio.sleep(60)
        yield None
    finally:
        say("stopped in order")

run_until_signalled(running())
say("returned")
"""

SLOW_TO_STOP = """
@asynccontextmanager
async def running():
    yield None
    say("stopping")
    await asyncio.sleep(60)

run_until_signalled(running(), on_started=lambda _: say("started"))
"""

BLOCKED_WHILE_STOPPING = """
@asynccontextmanager
async def running():
    yield None
    time.sleep(60)

run_until_signalled(running(), on_started=lambda _: say("started"), stop_seconds_max=0.2)
"""

SERVES_ON = """
@asynccontextmanager
async def running():
    yield None
    await asyncio.sleep(0.5)
    say("stopped in order")

run_until_signalled(running(), on_started=lambda _: say("started"), drain_seconds=0.5, stop_seconds_max=10)
"""

HANGS_AFTER_SERVING_ON = SERVES_ON.replace("10)", "0.2)").replace("sleep(0.5)", "sleep(60)")

FAILS_TO_START = """
@asynccontextmanager
async def running():
    raise OSError("the port is taken")
    yield None

run_until_signalled(running())
"""

FAILS_WHILE_RUNNING = """
@asynccontextmanager
async def running():
    async def fail():
        raise OSError("the disk is gone")
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        yield None

run_until_signalled(running())
"""


@contextmanager
def process(program: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def line_of(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_stops_the_service_in_order(number: signal.Signals) -> None:
    with process(ORDERLY) as running:
        assert line_of(running) == "starting"
        assert line_of(running) == "started on 127.0.0.1:5000"

        running.send_signal(number)

        output, errors = running.communicate(timeout=END_SECONDS_MAX)
        assert output.splitlines()[-2:] == ["stopped in order", "returned"]
        assert running.returncode == 0
        assert "Traceback" not in errors


def test_a_signal_stops_a_service_that_is_still_starting() -> None:
    with process(SLOW_TO_START) as running:
        assert line_of(running) == "starting"

        running.send_signal(signal.SIGTERM)

        output, errors = running.communicate(timeout=END_SECONDS_MAX)
        assert output.splitlines() == ["stopped in order", "returned"]
        assert running.returncode == 0
        assert "Traceback" not in errors


def test_a_second_signal_ends_the_process_at_once() -> None:
    with process(SLOW_TO_STOP) as running:
        assert line_of(running) == "started"
        running.send_signal(signal.SIGTERM)
        assert line_of(running) == "stopping"

        running.send_signal(signal.SIGTERM)

        assert running.wait(timeout=END_SECONDS_MAX) == 128 + signal.SIGTERM


def test_a_stop_that_hangs_ends_within_its_bound() -> None:
    with process(BLOCKED_WHILE_STOPPING) as running:
        assert line_of(running) == "started"

        running.send_signal(signal.SIGTERM)

        _, errors = running.communicate(timeout=END_SECONDS_MAX)
        assert running.returncode == 1
        assert "service_did_not_stop_in_time" in errors


@pytest.mark.parametrize(("program", "code"), [(SERVES_ON, 0), (HANGS_AFTER_SERVING_ON, 1)])
def test_the_time_that_a_service_serves_on_is_none_of_its_stop(program: str, code: int) -> None:
    with process(program) as running:
        assert line_of(running) == "started"

        running.send_signal(signal.SIGTERM)

        output, errors = running.communicate(timeout=END_SECONDS_MAX)
        assert running.returncode == code
        assert ("stopped in order" in output) is (code == 0)
        assert ("service_did_not_stop_in_time" in errors) is (code == 1)


@pytest.mark.parametrize(
    ("program", "message"), [(FAILS_TO_START, "the port is taken"), (FAILS_WHILE_RUNNING, "the disk is gone")]
)
def test_a_service_that_fails_says_why_and_ends_with_1(program: str, message: str) -> None:
    with process(program) as running:
        _, errors = running.communicate(timeout=END_SECONDS_MAX)

        assert running.returncode == 1
        assert "service_failed" in errors
        assert message in errors
