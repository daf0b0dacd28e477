"""Debian packages unpacked beside the system: nothing of the machine is replaced, and no root is needed.

A private apt (its own sources, lists and cache, and an empty list of what is installed) fetches a package with all that
it depends on, the C library included. Programs then run under that library's own loader, so a server of another Debian
release runs here too.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.server import PartUnavailableError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""What Debian's releases are signed with; part of each Debian."""

STEP_SECONDS_MAX = 600
"""For one fetch: some 60 MB over a slow line."""

LEFT_OUT = ("gcc-", "libdb5", "libgdbm", "libperl", "perl")
"""What packages depend on for scripts that don't run here; it is most of the size."""


class PackageFolder:
    """Unpacked packages, and how their programs are run."""

    def __init__(self, root: Path) -> None:
        """Take the folder that stands for `/`."""
        self.root = root

    def command(self, program: str) -> list[str]:
        """Return the words that run a program of the folder, by its path in there."""
        machine = f"{platform.machine()}-linux-gnu"
        libraries = [
            folder for folder in (self.root / "lib" / machine, self.root / "usr/lib" / machine) if folder.is_dir()
        ]
        loader = next(file for folder in libraries for file in folder.glob("ld-linux*.so.*"))
        return [str(loader), "--library-path", ":".join(map(str, libraries)), str(self.root / program)]


def unpack_packages(
    part: str, packages: Sequence[str], *, suite: str, root: Path, log_file: Path, left_out: Sequence[str] = ()
) -> PackageFolder:
    """Fetch packages of a Debian release, with what they need, and unpack them into `root`.

    Packages whose names begin with one of `left_out`, or of `LEFT_OUT`, are not unpacked.

    Raises:
        PartUnavailableError: No apt here, or the fetch failed.
    """
    if missing := [program for program in ("apt-get", "dpkg") if shutil.which(program) is None]:
        raise PartUnavailableError(part, f"needs Docker, or Debian's {' and '.join(missing)}")
    if not KEYRING.exists():
        raise PartUnavailableError(part, f"needs Docker, or Debian's keys in {KEYRING}")
    private = root.parent / "apt"
    environment = {
        **os.environ,
        "APT_CONFIG": str(_configure(part, private, suite)),
        "DEBIAN_FRONTEND": "noninteractive",
    }
    for words in (["update"], ["-y", "--download-only", "install", "--no-install-recommends", *packages]):
        _run(part, ["apt-get", "-qq", *words], log_file, environment)
    for package in sorted((private / "cache/archives").glob("*.deb")):
        if not package.name.startswith((*LEFT_OUT, *left_out)) and "-perl_" not in package.name:
            _run(part, ["dpkg", "--extract", str(package), str(root)], log_file, environment)
    shutil.rmtree(private)
    return PackageFolder(root)


def _configure(part: str, private: Path, suite: str) -> Path:
    """Write the private apt's files, and return the one that names the others."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (private / folder).mkdir(parents=True)
    (private / "status").touch()
    (private / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror(part)} {suite} main\n")
    configuration = private / "apt.conf"
    configuration.write_text(f"""\
Dir::Etc::sourcelist "{private}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "{private}/lists";
Dir::State::status "{private}/status";
Dir::Cache "{private}/cache";
Debug::NoLocking "1";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
""")
    return configuration


def _mirror(part: str) -> str:
    """Return the Debian mirror that the machine's own apt uses.

    Raises:
        PartUnavailableError: It uses none.
    """
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
        timeout=STEP_SECONDS_MAX,
    )
    sites = [site for site in told.stdout.split() if site.rstrip("/").endswith("/debian")]
    if not sites:
        raise PartUnavailableError(part, "needs Docker, or a Debian mirror among apt's sources")
    return sites[0]


def _run(part: str, command: Sequence[str], log_file: Path, environment: Mapping[str, str]) -> None:
    with log_file.open("a") as log:
        ended = subprocess.run(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=False,
            timeout=STEP_SECONDS_MAX,
        )
    if ended.returncode != 0:
        raise PartUnavailableError(part, f"`{' '.join(command[:4])}` failed, see {log_file}:\n{end_of(log_file)}")


def end_of(log_file: Path, *, lines: int = 20) -> str:
    """Return the last lines of a log."""
    if not log_file.exists():
        return "(no output)"
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-lines:])
