"""What the README tells people to type works as it stands there."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from services.embedded.cli import COMMANDS
from services.embedded.invariants import INVARIANTS
from tests.support.platform import REPOSITORY, platform_process, run_command

README = (REPOSITORY / "README.md").read_text()
GATEWAY = "localhost:8080"
"""Where the README's platform listens; a test's listens elsewhere."""

HISTORY = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,22633,HAND WARMER,6,12/1/2010 8:26,1.85,17850,United Kingdom
"""
"""What a shop has of its own."""


def typed_commands() -> list[str]:
    """List what follows a `$ ` in the README, with lines that go on joined and comments taken off."""
    lines = README.replace("\\\n", " ").splitlines()
    return [shlex.join(shlex.split(line[2:], comments=True)) for line in lines if line.startswith("$ ")]


@pytest.mark.ci
def test_make_demo_tells_the_story_and_ends_with_the_invariants() -> None:
    assert "make demo" in typed_commands()

    # As a person types it: a make inside a make says more.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ended = subprocess.run(
        ["make", "demo"], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )

    last_lines = ended.stdout.rstrip().splitlines()[-len(INVARIANTS) :]
    assert ended.returncode == 0, ended.stderr
    assert all(line.startswith("✔ ") for line in last_lines), last_lines


@pytest.mark.ci
def test_each_request_of_the_readme_is_answered(tmp_path: Path) -> None:
    requests = [command for command in typed_commands() if command.startswith("curl ")]
    assert len(requests) >= 2

    with platform_process(tmp_path / "data") as process:
        address = process.gateway_url.removeprefix("http://")
        answers = [
            subprocess.run(
                [*shlex.split(request.replace(GATEWAY, address)), "--fail-with-body"],
                capture_output=True,
                text=True,
                check=False,
            )
            for request in requests
        ]

    assert [answer.returncode for answer in answers] == [0] * len(requests), [answer.stdout for answer in answers]


@pytest.mark.ci
@pytest.mark.timeout(600)  # eight processes start, one after the other
def test_each_command_of_the_readme_works_on_the_platform_that_it_starts(tmp_path: Path) -> None:
    staying = README.partition("\nThen stay a while:\n")[2].partition("\n```\n")[0]
    commands = re.findall(r"^\$ \.venv/bin/tradeflow ([^#\n]+)(.*)$", staying, re.MULTILINE)
    (tmp_path / "history.csv").write_text(HISTORY)
    at_rest = [words for words, comment in commands if "once `up` is stopped" in comment]
    at_work = [words for words, comment in commands if "once `up` is stopped" not in comment]

    def run(words: str) -> tuple[str, int, str]:
        here = [str(tmp_path / word) if word.endswith(".csv") else word for word in words.split()]
        ended = run_command(*here, environment={"TRADEFLOW_DATA": str(tmp_path / "data")})
        return (words, ended.returncode, ended.stderr)

    ended = [run(words) for words in at_rest]
    with platform_process(tmp_path / "data"):
        ended += [run(words) for words in at_work]

    assert len(ended) > 6
    assert [each for each in ended if each[1] != 0] == []


def test_each_tradeflow_command_of_the_readme_exists() -> None:
    named = set(re.findall(r"\btradeflow ([a-z]+)", README))

    assert {"up", "replay", "verify"} <= named <= COMMANDS.keys()
