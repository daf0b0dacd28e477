"""How the story is told: chapters, data, and pauses where somebody is watching."""

import asyncio
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

PAUSE_SECONDS = 1.5
"""Between two chapters on a terminal: time to read a table."""

WIDTH_WITHOUT_TERMINAL = 110
"""Columns of a log file: wide enough for the tables."""


def new_console() -> Console:
    """Make a console that keeps its width where there is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)


class Stage:
    """Shows one story on one console."""

    def __init__(self, console: Console, *, fast: bool) -> None:
        """Pause between chapters only on a terminal, and not when it should be fast."""
        self.console = console
        self._pause_seconds = PAUSE_SECONDS if console.is_terminal and not fast else 0.0
        self._chapters = 0

    async def chapter(self, title: str, text: str) -> None:
        """Begin a chapter, after a pause."""
        if self._chapters:
            await asyncio.sleep(self._pause_seconds)
        self._chapters += 1
        self.console.print()
        self.console.rule(f"[bold cyan]{self._chapters}. {title}", align="left")
        self.console.print(text)

    def show(self, renderable: RenderableType) -> None:
        """Show data, set in a little."""
        self.console.print(Padding(renderable, (0, 0, 0, 2)))

    def request(self, line: str, body: Any = None, *, key: str = "") -> None:
        """Show a call as it goes to the gateway."""
        text = Text(f"→ {line}", style="bold")
        if key:
            text.append(f"   Idempotency-Key: {key}", style="not bold yellow")
        self.show(text)
        if body is not None:
            self.show(Text(f"  {_json(body)}", style="yellow"))

    def answer(self, line: str) -> None:
        """Show what the gateway answered."""
        self.show(Text(f"← {line}", style="green"))

    def refusal(self, status: int, problem: Any) -> None:
        """Show a problem as the gateway answered it."""
        self.show(Panel(_json(problem), title=f"← {status} application/problem+json", style="red", expand=False))

    def point(self, text: str) -> None:
        """Say what to notice."""
        self.show(Text(f"✓ {text}", style="green"))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
