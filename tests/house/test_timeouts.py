"""A run of the tests always ends, whatever hangs in it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN_SECONDS_MAX = 200.0

HANGS = """
import asyncio
import time

async def test_it_hangs_in_a_callback():
    asyncio.get_running_loop().call_soon(time.sleep, 600)
    await asyncio.Event().wait()

def test_the_next_one_runs():
    pass
"""
"""The alarm ends the callback, whose error the event loop notes and forgets."""


def test_each_timeout_rings_before_its_worker_ends() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    marks = [
        int(seconds)
        for file in ROOT.glob("tests/**/*.py")
        for seconds in re.findall(r"mark\.timeout\((\d+)", file.read_text())
    ]

    assert len(marks) > 10
    assert max(marks) < options["faulthandler_timeout"]


@pytest.mark.ci
@pytest.mark.timeout(240)  # three interpreters start, on a busy machine
def test_a_test_that_swallows_its_alarm_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGS)
    options = ("--timeout=5", "-o", "faulthandler_timeout=12", "-n", "1", "-p", "no:cacheprovider")

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), *options, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
        cwd=tmp_path,
    )

    assert "crashed while running" in ended.stdout
    assert "test_it_hangs_in_a_callback" in ended.stdout
    assert "1 failed, 1 passed" in ended.stdout
    assert "base_events.py" in ended.stderr, "it says where"
