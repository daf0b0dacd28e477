"""A server's process, which outlives the one that started it and is known by a file."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

END_SECONDS_MAX = 20.0
"""A server that is asked to end gets this long before it is killed: MySQL flushes its pages first."""

POLL_SECONDS = 0.02
"""How often the process is looked at."""

_ENDED = {"Z", "X"}
"""A process's states after its end, in /proc: a zombie, and dead."""


def born_at(pid: int) -> int | None:
    """Tell when a process began, in clock ticks since the machine did; None for one that is gone or ended.

    A number of a process is used again, so only the two together name a process.
    """
    state, born = _state_of(pid)
    return None if state in _ENDED else born


def _state_of(pid: int) -> tuple[str, int | None]:
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "X", None
    return state, int(fields[18])


class ServerProcess:
    """At most one process; the file holds its number and when it began."""

    def __init__(self, pid_file: Path) -> None:
        """Look at nothing yet."""
        self._pid_file = pid_file

    def start(self, command: Sequence[str], log_file: Path, environment: Mapping[str, str] | None = None) -> None:
        """Run a program in a session of its own, its output appended to the log."""
        appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            command[0],
            list(command),
            {**os.environ, **(environment or {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log_file), appending, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._pid_file.write_text(f"{pid} {born_at(pid) or 0}")

    def pid(self) -> int | None:
        """Return the process's number if it lives."""
        try:
            pid, born = map(int, self._pid_file.read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        state, began_at = _state_of(pid)
        if began_at != born or (state in _ENDED and not _is_ending(pid)):
            return None
        return pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that is gone gets none."""
        pid = self.pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait until the process is gone; kill it when that takes too long."""
        self.send(number)
        if number is not signal.SIGKILL:
            self.send(signal.SIGCONT)  # a paused process would not hear it
            self._wait(END_SECONDS_MAX)
            self.send(signal.SIGKILL)
        self._wait(END_SECONDS_MAX)
        self._pid_file.unlink(missing_ok=True)

    def _wait(self, seconds_max: float) -> None:
        deadline = time.monotonic() + seconds_max
        while self.pid() is not None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _is_ending(pid: int) -> bool:
    """Tell whether threads of an ended process still run: its ports and files are theirs until they are through.

    Takes leave of a child that is through: as a zombie its number would look alive to others.
    """
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        with suppress(FileNotFoundError):
            return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
        return False
