"""What a test asks of a real server, wherever it comes from, and what goes wrong before it answers."""

from pathlib import Path
from typing import Protocol


class PartUnavailableError(Exception):
    """A kind of server can't be had on this machine; the message says why."""

    def __init__(self, part: str, why: str) -> None:
        """Name the part and the reason."""
        super().__init__(f"{part}: {why}")


class ServerFailedError(Exception):
    """A server that is installed didn't start; the message names its log and shows the log's end."""


class Server(Protocol):
    """One server with data of its own.

    It lives in a folder, not in a process: any process that opens the same folder commands the same server.
    """

    @property
    def url(self) -> str:
        """Where it listens: the same after each start."""
        ...

    @property
    def log_file(self) -> Path:
        """Where its output is."""
        ...

    def start(self) -> str:
        """Start it unless it runs, wait until it answers, and return its URL.

        Raises:
            PartUnavailableError: This machine can't have such a server.
            ServerFailedError: It didn't start.
        """
        ...

    def stop(self) -> None:
        """End it as an administrator would; its data stays."""
        ...

    def kill(self) -> None:
        """End it without any warning (SIGKILL); its data stays as it is at that moment."""
        ...

    def pause(self) -> None:
        """Let it hang (SIGSTOP): its connections stay open and nothing answers."""
        ...

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        ...

    def restart(self) -> str:
        """Stop it if it runs, and start it on the data that it has."""
        ...

    def wipe(self) -> None:
        """End it and forget its data; its log stays."""
        ...

    def is_running(self) -> bool:
        """Tell whether there is a process, answering or not."""
        ...
