"""A Python module as a process of its own that starts at once: it is forked from a process that has imported it.

What all services import takes some seconds of a processor, and the tests start services hundreds of times. Python's own
fork server imports once for each worker. The process is as real as any: it has its own session, environment and output,
and can be killed, paused and awaited.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final

STDOUT, STDERR = 1, 2

_CONTEXT: Final = multiprocessing.get_context("forkserver")

_IMPORTED: Final = [
    "services.ledger.wiring",
    "services.orders.wiring",
    "services.gateway.wiring",
    "services.embedded.commands.up",
    "services.embedded.commands.verify",
]

_CONTEXT.set_forkserver_preload(_IMPORTED)


def import_once(module: str) -> None:
    """Let the fork server import a module, too; call it while tests are imported, before the first process starts."""
    if module not in _IMPORTED:
        _IMPORTED.append(module)
        _CONTEXT.set_forkserver_preload(_IMPORTED)


class ForkedProcess:
    """`python -m MODULE ARGUMENTS`, with what the tests need of `subprocess.Popen`."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        errors_file: Path,
        folder: Path,
    ) -> None:
        """Start it.

        Args:
            module: What is run.
            arguments: Of the command line.
            environment: All of its environment variables.
            errors_file: What it writes on stderr is added there.
            folder: Where it works.
        """
        output, writer = _CONTEXT.Pipe(duplex=False)
        words = ((module, *arguments), dict(environment), errors_file, folder, writer)
        self._process = _CONTEXT.Process(target=_run, args=words, daemon=True)
        self._process.start()
        self._reading = threading.Lock()  # the fork server tells the exit code once, and several threads may ask
        writer.close()
        self.stdout = os.fdopen(os.dup(output.fileno()), encoding="utf-8")
        output.close()

    @property
    def pid(self) -> int:
        """Tell which process it is."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Tell how it ended: its exit code, or a signal's number below zero; None while it runs."""
        with self._reading:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It didn't end in time.
        """
        wait([self._process.sentinel], timeout)
        exit_code = self.poll()
        if exit_code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return exit_code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it may have ended since
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it without any warning."""
        self._process.kill()


def _run(
    words: Sequence[str], environment: Mapping[str, str], errors_file: Path, folder: Path, stdout: Connection
) -> None:
    """Become, in the forked process, what `python -m WORDS` would be."""
    os.setsid()
    os.dup2(stdout.fileno(), STDOUT)
    stdout.close()
    with errors_file.open("ab") as errors:
        os.dup2(errors.fileno(), STDERR)
    # The fork server's own streams remember what they were opened on, such as a file with a position.
    sys.stdout = open(STDOUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as it lives
    sys.stderr = open(STDERR, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - as above
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
