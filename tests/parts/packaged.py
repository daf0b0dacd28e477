"""A server of unpacked packages: a process of this machine."""

import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tests.parts.apt import end_of
from tests.parts.home import locked, parts_home
from tests.parts.part import Part, Place
from tests.parts.process import ServerProcess
from tests.parts.server import ServerFailedError

START_SECONDS_MAX = 180.0
"""MySQL starts in a second, the registry in five, on two idle cores; a busy machine has taken ten times as long."""

POLL_SECONDS = 0.05
"""How often a server that starts is asked."""


def ensure_installed(part: Part) -> Path:
    """Return the folder with all that the part's servers share; install it there at the first call on this machine.

    Raises:
        PartUnavailableError: It can't be had here.
    """
    home = parts_home() / "installed"
    installed = home / part.name
    with locked(home / f"{part.name}.lock"):
        if not installed.exists():
            unfinished = home / f"{part.name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            log_file = home / f"{part.name}.log"
            log_file.unlink(missing_ok=True)
            part.install(unfinished, log_file)
            unfinished.rename(installed)
    return installed


class PackagedServer:
    """One server, in a folder of its own."""

    def __init__(self, part: Part, folder: Path, flags: Sequence[str] = ()) -> None:
        """Look at nothing yet; a server that was started before keeps its port and its flags."""
        self._part = part
        self._place = Place.of(folder, flags)
        self._process = ServerProcess(folder / "pid")

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._part.url(self._place)

    @property
    def log_file(self) -> Path:
        """Where its output is."""
        return self._place.log_file

    def is_running(self) -> bool:
        """Tell whether there is a process."""
        return self._process.pid() is not None

    def start(self) -> str:
        """Install the part, prepare the data and start the process, as far as that is still to do."""
        installed = ensure_installed(self._part)
        if not self.is_running():
            if not self._place.data.exists():
                self._part.prepare(installed, self._place)
            self._process.start(self._part.command(installed, self._place), self.log_file)
        self._wait_until_it_answers()
        return self.url

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            running = self.is_running()
            try:
                self._part.ask(self.url)
            except OSError as error:
                if running and time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
                    continue
                self.kill()
                raise ServerFailedError(
                    f"{self._part.name} did not start, see {self.log_file}:\n{end_of(self.log_file)}"
                ) from error
            if not running:
                raise ServerFailedError(f"another server listens at {self.url}, see {self.log_file}")
            return

    def stop(self) -> None:
        """End it and keep the data."""
        self._process.end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._process.end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang."""
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send(signal.SIGCONT)

    def restart(self) -> str:
        """Stop and start it."""
        self.stop()
        return self.start()

    def wipe(self) -> None:
        """End it and remove the data."""
        self.kill()
        shutil.rmtree(self._place.data, ignore_errors=True)
