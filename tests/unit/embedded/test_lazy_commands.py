import subprocess
import sys

import pytest
from typer.testing import CliRunner

from services.embedded.cli import COMMANDS, app

LOADED = "import sys, services.embedded.cli; print(*[name for name in sys.modules if name.startswith('services.')])"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_where_it_is_said_to_be(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "-h"])

    assert shown.exit_code == 0, shown.output
    assert f"tradeflow {name}" in shown.output


def test_the_command_line_begins_without_any_service() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout.split()

    assert "services.embedded.cli" in loaded
    assert not [name for name in loaded if name.startswith(("services.ledger", "services.orders", "services.gateway"))]


def test_a_command_that_is_not_there_is_refused() -> None:
    shown = CliRunner().invoke(app, ["nothing"])

    assert shown.exit_code == 2
    assert "No such command" in shown.output
