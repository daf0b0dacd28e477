"""The servers of one run of the tests: shared ones, private ones, and what a killed run left behind."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from tests.parts.home import locked, parts_home
from tests.parts.opening import open_server, server_in
from tests.parts.process import born_at
from tests.parts.server import Server

LOGS_KEPT_SECONDS = 3 * 86_400
"""A run's logs stay for three days: long enough to read them after a weekend."""


class PartsOfRun:
    """A folder per run, named for the process that began it; its workers share the folder."""

    def __init__(self, folder: Path) -> None:
        """Join a run."""
        self.folder = folder

    @classmethod
    def begin(cls) -> "PartsOfRun":
        """Begin a run of this process, and end what runs that were killed have left."""
        runs = parts_home() / "runs"
        with locked(parts_home() / "runs.lock"):
            for abandoned in [run for run in runs.glob("*") if not _is_alive(run)]:
                cls(abandoned).end()
                if time.time() - abandoned.stat().st_mtime > LOGS_KEPT_SECONDS:
                    shutil.rmtree(abandoned)
        return cls(runs / f"{os.getpid()}-{born_at(os.getpid())}-{uuid4().hex[:8]}")

    def shared(self, part: str, name: str, flags: Sequence[str] = ()) -> Server:
        """Return the server that all workers of the run share under a name, started by the first who asks."""
        with locked(self.folder / f"{name}.lock"):
            server = open_server(part, self.folder / name, flags)
            server.start()
        return server

    def private(self, part: str, flags: Sequence[str] = ()) -> Server:
        """Return a server, not yet started, that nobody else knows: it may be killed."""
        return open_server(part, self.folder / f"{part}-{uuid4().hex[:12]}", flags)

    def end(self) -> None:
        """End all servers and forget their data; the logs stay."""
        for folder in self.folder.glob("*/"):
            if (server := server_in(folder)) is not None:
                server.wipe()


def _is_alive(run: Path) -> bool:
    pid, born, *_ = run.name.split("-")
    return born_at(int(pid)) == int(born)
