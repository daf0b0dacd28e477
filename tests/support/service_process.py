"""One service as a process of its own, commanded as the real servers are: see tests/parts/server.py."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.forked_process import ForkedProcess
from tests.support.platform import REPOSITORY, START_SECONDS_MAX, STOP_SECONDS_MAX, alarm


def python_of(code: Path) -> Path:
    """Return the interpreter that has what this code's lock file names."""
    return code / ".venv" / "bin" / "python"


class ServiceProcess:
    """One replica of a service; it listens at the same places after each start."""

    def __init__(self, name: str, service: str, environment: Mapping[str, str], errors_file: Path) -> None:
        """Prepare `python -m services.SERVICE`."""
        self.name = name
        self.service = service
        self.errors_file = errors_file
        self._environment = {**os.environ, **environment}
        self.code = REPOSITORY
        """The folder of the code that the next start runs; other code than today's brings its own environment."""
        self._process: ForkedProcess | subprocess.Popen[str] | None = None

    @property
    def process_id(self) -> int:
        """Tell which process it is."""
        assert self._process is not None, f"{self.name} doesn't run"
        return self._process.pid

    def begin(self) -> None:
        """Start it, without waiting for it."""
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()  # of a start that failed
        module = f"services.{self.service}"
        self.errors_file.touch()  # it can be read from now on, whenever the process comes to write it
        if self.code == REPOSITORY:
            self._process = ForkedProcess(
                module, environment=self._environment, errors_file=self.errors_file, folder=self.code
            )
            return
        with self.errors_file.open("a") as errors:
            self._process = subprocess.Popen(
                [python_of(self.code), "-m", module],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**self._environment, "PYTHONPATH": f"{self.code}{os.pathsep}{self.code / 'proto'}"},
                cwd=self.code,
                start_new_session=True,
            )

    def wait_until_started(self) -> None:
        """Wait until it says where it listens."""
        assert self._process is not None
        assert self._process.stdout is not None
        with alarm(self._process, START_SECONDS_MAX):
            line = self._process.stdout.readline()
        assert line.startswith(self.service), f"{self.name} did not start: {self.errors_file.read_text()}"

    def start(self) -> None:
        """Start it, and wait for it."""
        self.begin()
        self.wait_until_started()

    @property
    def exit_code(self) -> int | None:
        """Tell how it ended, if nobody here ended it; None while it runs or is not there."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """End it without any warning."""
        if self._process is not None:
            self._process.kill()
            self._ended(self._process)

    def stop(self) -> int | None:
        """Ask it to end, and return its exit code; one that doesn't end in time is killed."""
        process = self._process
        if process is None:
            return None
        self.resume()
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
        return self._ended(process)

    def restart(self) -> None:
        """Stop it if it runs, and start it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang (SIGSTOP): its connections stay open and nothing answers."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._send(signal.SIGCONT)

    def is_running(self) -> bool:
        """Tell whether there is a process, answering or not."""
        return self._process is not None and self._process.poll() is None

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _ended(self, process: "ForkedProcess | subprocess.Popen[str]") -> int:
        exit_code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None
        return exit_code
