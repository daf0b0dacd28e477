"""Images without a registry: a Docker daemon of the tests' own builds the project's image on a base made of packages.

The base stands for `python:3.11-slim`, helm's image for the stage that builds it from source: both are build arguments
of the Dockerfile. It needs root. The daemon's images stay between runs, so that a build finds its layers again.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.parts.apt import end_of
from tests.parts.go_programs import PROGRAMS, ensure_program
from tests.parts.home import locked, parts_home
from tests.parts.machine_programs import ensure_machine_programs
from tests.parts.packaged import POLL_SECONDS, START_SECONDS_MAX
from tests.parts.process import ServerProcess
from tests.parts.server import ServerFailedError

BASE_IMAGE = "tradeflow-local/python:3.11"
"""Debian with Python and the machine's authorities, which may be more than Debian's."""

HELM_IMAGE = f"tradeflow-local/helm:{PROGRAMS['helm'].version}"
"""The program and nothing else."""

BUILD_SECONDS_MAX = 900
"""For the first build, which downloads all libraries."""

CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")

BOOTSTRAP_PACKAGES = "python3,python3-venv,ca-certificates"

LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists", "var/log")


class ImageBuilder:
    """A Docker daemon in a folder, shared by all runs of this machine."""

    def __init__(self) -> None:
        """Look at nothing yet."""
        self._folder = parts_home() / "images"
        self._socket = self._folder / "docker.sock"
        self._process = ServerProcess(self._folder / "dockerd.pid")

    def build(self, context: Path, tag: str) -> Path:
        """Build the project's image, and return its archive.

        Raises:
            PartUnavailableError: This machine can't build images.
            AssertionError: The build failed; the message has its end.
        """
        ensure_machine_programs("images", "dockerd", "iptables", "debootstrap")
        with locked(self._folder / "lock"):
            self._start()
            try:
                self._ensure_base()
                self._ensure_helm()
                self._docker(
                    *("build", "--progress", "plain", "--tag", tag),
                    *("--build-arg", f"BASE_IMAGE={BASE_IMAGE}"),
                    *("--build-arg", f"HELM_IMAGE={HELM_IMAGE}"),
                    str(context),
                )
                archive = self._folder / "image.tar"
                self._docker("save", "--output", str(archive), tag)
                return archive
            finally:
                self._process.end(signal.SIGTERM)

    def _start(self) -> None:
        log_file = self._folder / "dockerd.log"
        self._socket.unlink(missing_ok=True)
        (self._folder / "daemon.pid").unlink(missing_ok=True)
        self._process.start(
            [
                str(shutil.which("dockerd")),
                *("--host", f"unix://{self._socket}"),
                *("--data-root", str(self._folder / "data")),
                *("--exec-root", str(self._folder / "exec")),
                *("--pidfile", str(self._folder / "daemon.pid")),
                *("--exec-opt", "native.cgroupdriver=cgroupfs"),
            ],
            log_file,
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if self._process.pid() is None or time.monotonic() > deadline:
                raise ServerFailedError(f"dockerd did not start, see {log_file}:\n{end_of(log_file)}")
            time.sleep(POLL_SECONDS)

    def _ensure_base(self) -> None:
        if self._has(BASE_IMAGE):
            return
        root = self._folder / "rootfs"
        shutil.rmtree(root, ignore_errors=True)
        words = ["debootstrap", "--variant=minbase", f"--include={BOOTSTRAP_PACKAGES}", "bookworm", str(root)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS_MAX)
        assert ended.returncode == 0, f"debootstrap failed: {ended.stdout[-800:]}"
        for left_out in LEFT_OUT:
            for file in (root / left_out).rglob("*"):
                if file.is_file() and not file.is_symlink():
                    file.unlink()
        shutil.copyfile(Path("/") / CERTIFICATES, root / CERTIFICATES)
        certificates = [f"{name}=/{CERTIFICATES}" for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")]
        self._import(root, BASE_IMAGE, [f"ENV {variable}" for variable in certificates])
        shutil.rmtree(root)

    def _ensure_helm(self) -> None:
        if self._has(HELM_IMAGE):
            return
        root = self._folder / "helm"
        (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(ensure_program("helm"), root / "usr/local/bin/helm")
        self._import(root, HELM_IMAGE, [])
        shutil.rmtree(root)

    def _import(self, root: Path, tag: str, changes: list[str]) -> None:
        archive = self._folder / "import.tar"
        subprocess.run(
            ["tar", "-C", str(root), "--one-file-system", "-cf", str(archive), "."],
            check=True,
            timeout=BUILD_SECONDS_MAX,
        )
        self._docker("import", *(word for change in changes for word in ("--change", change)), str(archive), tag)
        archive.unlink()

    def _has(self, tag: str) -> bool:
        return bool(self._docker("images", "--quiet", tag).strip())

    def _answers(self) -> bool:
        try:
            self._docker("version")
        except AssertionError:
            return False
        return True

    def _docker(self, *words: str) -> str:
        ended = subprocess.run(
            # Debian's own: another client on the PATH may not fit this daemon.
            ["/usr/bin/docker", "--host", f"unix://{self._socket}", *words],
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS_MAX,
        )
        assert ended.returncode == 0, f"docker {words[0]} failed: {(ended.stdout + ended.stderr)[-2000:]}"
        return ended.stdout
