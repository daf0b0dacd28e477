"""Each command's help teaches: what it does, with an example, and what each option and argument is for."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from services.embedded.cli import app

WIDER_THAN_ANY_PARAGRAPH = {"COLUMNS": "2000", "NO_COLOR": "1"}


def _commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    for name, command in _members(group):
        if isinstance(command, TyperGroup):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _members(group: TyperGroup) -> Iterator[tuple[str, TyperCommand]]:
    context = group.make_context("tradeflow", [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert isinstance(command, TyperCommand | TyperGroup)
        yield name, command  # type: ignore[misc]  # a group has a command's face


ROOT = get_command(app)
assert isinstance(ROOT, TyperGroup)
COMMANDS = {" ".join(path): command for path, command in _commands(ROOT)}


GROUPS = sorted({name.partition(" ")[0] for name in COMMANDS if " " in name})


def shown(name: str) -> str:
    return CliRunner().invoke(app, [*name.split(), "--help"], env=WIDER_THAN_ANY_PARAGRAPH).stdout


def test_every_command_is_looked_at() -> None:
    assert {"up", "dlq redrive", "ledger export", "user reset-password"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_an_example_of_itself_and_no_password_in_it(name: str) -> None:
    _, _, examples = shown(name).partition("Example")

    assert f"tradeflow {name}" in examples.partition("╭")[0]
    assert not re.search(r"://[^/\s]*:[^/\s]*@", examples.partition("╭")[0])


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS])
def test_a_paragraph_of_the_help_is_broken_by_the_terminal_alone(name: str) -> None:
    text = shown(name).partition("╭")[0]

    lines = [line.strip() for line in text.splitlines()]
    broken = [f"{one} / {other}" for one, other in pairwise(lines) if one and other]
    assert broken == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_explained_and_an_argument_is_named_as_the_help_names_it(name: str) -> None:
    unexplained = [one.name for one in COMMANDS[name].params if not getattr(one, "help", "")]
    small = [one.name for one in COMMANDS[name].params if one.param_type_name == "argument" and not one.metavar]

    assert unexplained == []
    assert small == []
