"""The folder of all servers: what is installed, and what each server keeps."""

import fcntl
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
"""Servers listen here and nowhere else: they have no passwords."""

PORTS = range(20_000, 32_000)
"""Below what Linux gives to outgoing connections (32,768 and up): none of those takes a killed server's port."""


def parts_home() -> Path:
    """Return the folder: `TRADEFLOW_PARTS_HOME`, or one in the user's cache."""
    named = os.environ.get("TRADEFLOW_PARTS_HOME")
    home = Path(named) if named else Path.home() / ".cache" / "tradeflow" / "parts"
    home.mkdir(parents=True, exist_ok=True)
    return home.resolve()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep other processes out of the body that name the same file; the system unlocks it when a process dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """Choose a port that nobody listens at, by chance: so two processes that choose at once rarely choose the same.

    Raises:
        OSError: None of a hundred ports was free.
    """
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop}")
