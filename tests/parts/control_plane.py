"""An API server of the tests with its database and its controllers: three processes behind one server's interface.

`pause` and `resume` are the API server's alone: to its clients it is cut off. `stop`, `kill` and `wipe` end all three.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.parts.apt import end_of
from tests.parts.go_programs import ensure_program
from tests.parts.kubernetes import KubernetesPart, audit_file, controllers_command, etcd_command
from tests.parts.kubernetes_identities import Identities
from tests.parts.packaged import POLL_SECONDS, START_SECONDS_MAX, PackagedServer, ensure_installed
from tests.parts.process import ServerProcess
from tests.parts.server import ServerFailedError

KUBECTL_SECONDS_MAX = 120
"""For one command, on a busy machine."""


class ControlPlane(PackagedServer):
    """One API server, in a folder of its own."""

    def __init__(self, part: KubernetesPart, folder: Path, flags: Sequence[str] = ()) -> None:
        """Look at nothing yet."""
        super().__init__(part, folder, flags)
        self._etcd = ServerProcess(folder / "etcd.pid")
        self._controllers = ServerProcess(folder / "controllers.pid")

    @property
    def kubeconfig(self) -> Path:
        """The file that makes clients a super-user."""
        return Identities(self._place).kubeconfig()

    def start(self) -> str:
        """Start what doesn't run, and wait until service accounts are made."""
        installed = ensure_installed(self._part)
        if not self._place.data.exists():
            self._part.prepare(installed, self._place)
        if self._etcd.pid() is None:
            self._etcd.start(etcd_command(self._place), self._log_of("etcd"))
        url = super().start()
        if self._controllers.pid() is None:
            self._controllers.start(controllers_command(self._place), self._log_of("controllers"))
        self._wait_for_controllers()
        return url

    def stop(self) -> None:
        """End all three and keep the data."""
        self._end(signal.SIGTERM, super().stop)

    def kill(self) -> None:
        """End all three at once."""
        self._end(signal.SIGKILL, super().kill)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl as a super-user, and return what it prints.

        Raises:
            AssertionError: It failed; the message is its own.
        """
        ended = subprocess.run(
            [ensure_program("kubectl"), "--kubeconfig", self.kubeconfig, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=KUBECTL_SECONDS_MAX,
        )
        if ended.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)}: {ended.stderr.strip()}")
        return ended.stdout

    def writes(self) -> Iterator[dict[str, Any]]:
        """Yield the audit's events, oldest first: each write, refused ones too, with its `requestObject`."""
        file = audit_file(self._place)
        for line in file.read_text().splitlines(keepends=True) if file.exists() else ():
            if line.endswith("\n"):  # the last line may be half written
                yield json.loads(line)

    def _end(self, number: signal.Signals, end_server: Callable[[], None]) -> None:
        """Let clients lose their server first: nothing is written while the rest ends."""
        end_server()
        self._controllers.end(number)
        self._etcd.end(number)

    def _wait_for_controllers(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.kubectl("get", "serviceaccount", "default", "--namespace", "default")
            except AssertionError as error:
                if self._controllers.pid() is None or time.monotonic() > deadline:
                    log_file = self._log_of("controllers")
                    self.kill()
                    raise ServerFailedError(
                        f"kubernetes' controllers did not start, see {log_file}:\n{end_of(log_file)}"
                    ) from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def _log_of(self, process: str) -> Path:
        return self._place.folder / f"{process}.log"
