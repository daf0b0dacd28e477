"""Zipkin 3.6, the slim one of Maven Central: it keeps spans in memory only, and takes JSON v2 at `/api/v2/spans`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.http_servers import SMALL_JVM, ask_http
from tests.parts.maven import fetch_file, java
from tests.parts.part import Place

VERSION = "3.6.1"

JAR_SHA256 = "981b1de6139b4f8f787a909c308028732f9713ae5284353d2a5aa404d1094775"

JAR = f"zipkin-server-{VERSION}-slim.jar"


class ZipkinPart:
    """Zipkin."""

    name = "zipkin"
    image = f"openzipkin/zipkin-slim:{VERSION}"
    image_port = 9411

    def image_environment(self, place: Place) -> Mapping[str, str]:  # noqa: ARG002 - the port's signature
        """Say nothing: the image keeps spans in memory by itself."""
        return {}

    def image_command(self, place: Place) -> Sequence[str]:
        """Give the server its flags."""
        return place.flags

    def install(self, folder: Path, log_file: Path) -> None:
        """Fetch the jar."""
        java(self.name)
        coordinates = f"io.zipkin:zipkin-server:{VERSION}:jar:slim"
        fetch_file(self.name, coordinates, digest=JAR_SHA256, into=folder, log_file=log_file)

    def prepare(self, installed: Path, place: Place) -> None:  # noqa: ARG002 - the port's signature
        """Make the folder that stands for its data: it keeps none on the disk."""
        place.data.mkdir()

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a server; its own settings would listen on every interface."""
        return [
            java(self.name),
            *SMALL_JVM,
            "-jar",
            str(installed / JAR),
            f"--armeria.ports[0].port={place.port}",
            f"--armeria.ports[0].ip={place.host}",
            "--armeria.ports[0].protocols[0]=http",
            *place.flags,
        ]

    def url(self, place: Place) -> str:
        """Name the server, without a path."""
        return f"http://{place.host}:{place.port}"

    def ask(self, url: str) -> str:
        """Return the version."""
        ask_http(f"{url}/health")
        return str(ask_http(f"{url}/info").json()["zipkin"]["version"])
