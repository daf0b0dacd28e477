"""What Maven Central has, fetched by the machine's own `mvn` with its own settings, and checked against known sums."""

import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from xml.sax.saxutils import escape

from tests.parts.apt import end_of
from tests.parts.server import PartUnavailableError

FETCH_SECONDS_MAX = 900
"""For some 160 MB over a slow line."""

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>part</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{dependencies}</dependencies></project>
"""


def fetch_jars(part: str, jars: Sequence[tuple[str, str, str]], *, into: Path, log_file: Path) -> None:
    """Fetch jars by group, name and version, with all that they need.

    Raises:
        PartUnavailableError: No Maven here, or the fetch failed.
    """
    dependencies = "".join(
        f"<dependency><groupId>{escape(group)}</groupId><artifactId>{escape(name)}</artifactId>"
        f"<version>{escape(version)}</version></dependency>"
        for group, name, version in jars
    )
    into.mkdir(parents=True, exist_ok=True)
    pom_file = into / "pom.xml"
    pom_file.write_text(_POM.format(dependencies=dependencies))
    _maven(part, ["-f", str(pom_file), "dependency:copy-dependencies", f"-DoutputDirectory={into}"], log_file)


def fetch_file(part: str, coordinates: str, *, digest: str, into: Path, log_file: Path) -> Path:
    """Fetch one file, named `group:artifact:version:type:classifier`, and return it.

    Raises:
        PartUnavailableError: No Maven here, the fetch failed, or the file isn't the one whose SHA-256 is known.
    """
    into.mkdir(parents=True, exist_ok=True)
    words = [f"-Dartifact={coordinates}", f"-DoutputDirectory={into}", "-Dmdep.useBaseVersion=true"]
    _maven(part, ["dependency:copy", *words], log_file)
    _, artifact, version, kind, classifier = coordinates.split(":")
    file = into / f"{artifact}-{version}-{classifier}.{kind}"
    with file.open("rb") as content:
        found = sha256()
        while block := content.read(2**20):
            found.update(block)
    if found.hexdigest() != digest:
        raise PartUnavailableError(part, f"{file.name} has the SHA-256 {found.hexdigest()} instead of {digest}")
    return file


def java(part: str) -> str:
    """Return the machine's Java.

    Raises:
        PartUnavailableError: It has none.
    """
    program = shutil.which("java")
    if program is None:
        raise PartUnavailableError(part, "needs Docker, or a Java of at least 17")
    return program


def _maven(part: str, words: list[str], log_file: Path) -> None:
    if shutil.which("mvn") is None:
        raise PartUnavailableError(part, "needs Docker, or mvn: install maven and a Java of at least 17")
    with log_file.open("a") as log:
        ended = subprocess.run(
            ["mvn", "-q", "-B", *words], stdout=log, stderr=log, check=False, timeout=FETCH_SECONDS_MAX
        )
    if ended.returncode != 0:
        raise PartUnavailableError(part, f"mvn failed, see {log_file}:\n{end_of(log_file)}")
