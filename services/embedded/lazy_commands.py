"""Commands whose modules are loaded when they are called: together they bring every service, which takes seconds."""

from collections.abc import Mapping
from importlib import import_module
from inspect import getdoc
from typing import ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}
"""Of every command: how to ask for help."""


class LazyGroup(TyperGroup):
    """A group that knows its commands by where they are. Its own help loads them all."""

    package: ClassVar[str]
    places: ClassVar[Mapping[str, str]]

    @classmethod
    def of(cls, package: str, places: Mapping[str, str]) -> type["LazyGroup"]:
        """Make a group of a package's commands.

        Args:
            package: Where the modules are.
            places: By the command's name, `module:name` of a function or of a Typer application.
        """
        return type("CommandsOf", (cls,), {"package": package, "places": places})

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002 - click's own name
        """List the names, in the order of the help."""
        return list(self.places)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]  # noqa: ARG002
        """Load a command; None when there is none of that name."""
        place = self.places.get(cmd_name)
        return None if place is None else self._loaded(cmd_name, place)

    def _loaded(self, name: str, place: str) -> TyperCommand:
        module, _, attribute = place.partition(":")
        found = getattr(import_module(f"{self.package}.{module}"), attribute)
        holder = typer.Typer(rich_markup_mode="rich", add_completion=False)
        # With a callback, Typer makes a group even of one command, which then keeps its name.
        holder.callback()(_nothing)
        if isinstance(found, typer.Typer):
            for command in found.registered_commands:
                command.help = _flowing(getdoc(command.callback))
            found.info.help = _flowing(found.info.help)
            holder.add_typer(found, name=name, context_settings=CONTEXT_SETTINGS)
        else:
            holder.command(name, help=_flowing(getdoc(found)), context_settings=CONTEXT_SETTINGS)(found)
        return get_group(holder).commands[name]  # type: ignore[return-value]  # Typer makes them all


def _flowing(text: str | None) -> str:
    """Put each paragraph of a help into one line: where it breaks is for the terminal to say."""
    paragraphs = (text or "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _nothing() -> None:
    """Hold nothing."""
