"""What has to be known about a kind of server: how it is installed, started and asked whether it answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.parts.home import HOST, free_port


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one server lives, and what it was asked to be."""

    folder: Path
    host: str
    port: int
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, flags: Sequence[str] = ()) -> "Place":
        """Return a folder's place: it keeps its port, and the last flags that were given."""
        folder.mkdir(parents=True, exist_ok=True)
        port_file, flags_file = folder / "port", folder / "flags"
        if not port_file.exists():
            port_file.write_text(str(free_port()))
        if flags or not flags_file.exists():
            flags_file.write_text(json.dumps(list(flags)))
        remembered = tuple(json.loads(flags_file.read_text()))
        return cls(folder=folder, host=HOST, port=int(port_file.read_text()), flags=remembered)

    @property
    def data(self) -> Path:
        """Its data."""
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        """Its output, of all its starts."""
        return self.folder / "server.log"


class Part(Protocol):
    """One kind of server."""

    @property
    def name(self) -> str:
        """What people call it, in small letters."""
        ...

    @property
    def image(self) -> str | None:
        """The container image, where there is a Docker engine; None for what needs its host's network."""
        ...

    @property
    def image_port(self) -> int:
        """The port inside of a container."""
        ...

    def image_environment(self, place: Place) -> Mapping[str, str]:
        """Return what the image is told at its start."""
        ...

    def image_command(self, place: Place) -> Sequence[str]:
        """Return the words that the image is started with."""
        ...

    def install(self, folder: Path, log_file: Path) -> None:
        """Put all that its servers share into an empty folder.

        Raises:
            PartUnavailableError: It can't be had here.
        """
        ...

    def prepare(self, installed: Path, place: Place) -> None:
        """Make the data folder of a new server."""
        ...

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a server."""
        ...

    def url(self, place: Place) -> str:
        """Say where a server is, in the form that its clients take."""
        ...

    def ask(self, url: str) -> str:
        """Return the version of the server that answers.

        Raises:
            OSError: Nothing answers yet.
        """
        ...
