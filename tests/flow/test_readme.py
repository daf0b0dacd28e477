"""What the README tells people to type works as it stands there."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from services.embedded.cli import COMMANDS
from services.embedded.invariants import INVARIANTS
from tests.support.platform import REPOSITORY, platform_process

README = (REPOSITORY / "README.md").read_text()
GATEWAY = "localhost:8080"
"""Where the README's platform listens; a test's listens elsewhere."""


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


def test_each_tradeflow_command_of_the_readme_exists() -> None:
    named = set(re.findall(r"\btradeflow ([a-z]+)", README))

    assert {"up", "replay", "verify"} <= named <= COMMANDS.keys()
