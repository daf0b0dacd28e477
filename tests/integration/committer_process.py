"""A committer with its callers as a process of its own, which may be killed: `python -m … URL NAME ANSWERS_FILE`.

Each answer is written to the file the moment a caller has it: a line with the key and the journal sequence, or the
refusal's reason. It calls until it is killed, or until SIGTERM.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from services.ledger.committer.committer import committing
from services.ledger.domain.receipt import Receipt
from services.runtime.database_opening import open_database
from services.runtime.errors import RefusedError
from tests.integration.callers import Answer, Callers

ROOT = Path(__file__).parents[2]

CALLERS = 32
"""Enough that a batch is always under way."""

END_SECONDS_MAX = 30
"""A committer that is told to stop works through what it was given first."""

CALLING_SECONDS_MAX = 3_600.0
"""It calls until it is told to stop; a forgotten one ends by itself."""


class CommitterProcess:
    """Handles such a process from a test."""

    def __init__(self, url: str, name: str, folder: Path) -> None:
        """Start it."""
        self.answers_file = folder / f"{name}.answers"
        self.answers_file.touch()
        self.log_file = folder / f"{name}.log"
        with self.log_file.open("w") as log:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.committer_process", url, name, str(self.answers_file)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def answers(self) -> dict[str, int | str]:
        """Read what its callers were told so far: sequences of what was accepted, and reasons of refusals."""
        told: dict[str, int | str] = {}
        for line in self.answers_file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                key, answer = line.split()
                told[key] = int(answer) if answer.isdigit() else answer
        return told

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send it a signal, wait for its end, and return its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        if number is not signal.SIGKILL:
            self._process.send_signal(signal.SIGCONT)
        code = self._process.wait(END_SECONDS_MAX)
        self._process = None
        return code


async def _call(url: str, name: str, answers_file: str) -> None:
    file = os.open(answers_file, os.O_WRONLY | os.O_APPEND)

    def write(key: str, answer: Answer) -> None:
        if isinstance(answer, Receipt):
            os.write(file, f"{key} {answer.journal_sequence}\n".encode())
        elif isinstance(answer, RefusedError):
            os.write(file, f"{key} {answer.reason}\n".encode())

    database = open_database(url)
    async with committing(database, book_id=1) as committer:
        callers = Callers([committer], name, CALLERS, on_answer=write)
        calling: asyncio.Task[Any] = asyncio.create_task(callers.run(CALLING_SECONDS_MAX))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, calling.cancel)
        await asyncio.wait({calling})
    await database.close()
    os.close(file)
    if not calling.cancelled():
        calling.result()


if __name__ == "__main__":
    asyncio.run(_call(*sys.argv[1:]))
