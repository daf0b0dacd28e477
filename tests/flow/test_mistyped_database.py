"""A database that isn't there is told and not made."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.embedded.cli import app

COMMANDS = (
    "webhooks list",
    "webhooks redrive",
    "user reset-password ann@example.org",
    "outbox status --service orders",
    "outbox show orders --service orders",
)
"""All that work on a service's database and are given its URL."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistyped_file_is_told_and_not_made(tmp_path: Path, command: str) -> None:
    file = tmp_path / "odrers.db"

    told = CliRunner().invoke(app, [*command.split(), "--database-url", f"sqlite:///{file}"])

    assert told.exit_code == 2
    assert f"There is no {file}" in told.output
    assert list(tmp_path.iterdir()) == []
