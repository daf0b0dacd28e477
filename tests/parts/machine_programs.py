"""Programs that only the machine itself can have, since they work on its kernel: containers, networks, file systems.

They are Debian's packages, installed by apt as root; their own services stay off. Nothing that is there is replaced.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tests.parts.home import locked, parts_home
from tests.parts.server import PartUnavailableError

PACKAGES = {
    "containerd": ("containerd", "runc"),
    "dockerd": ("docker.io",),
    "debootstrap": ("debootstrap",),
    "gcc": ("gcc", "libc6-dev"),
    "ip": ("iproute2",),
    "iptables": ("iptables",),
    "nft": ("nftables",),
}
"""Programs, and the packages that have them."""

INSTALL_SECONDS_MAX = 600

CNI_FOLDER = Path("/usr/lib/cni")
"""Where Debian's containernetworking-plugins are."""


def ensure_machine_programs(part: str, *programs: str) -> None:
    """Install what is missing.

    Raises:
        PartUnavailableError: This process isn't root, or apt failed.
    """
    missing = [package for program in programs if shutil.which(program) is None for package in PACKAGES[program]]
    if "containerd" in programs and not CNI_FOLDER.is_dir():
        missing.append("containernetworking-plugins")
    if os.geteuid() != 0:
        raise PartUnavailableError(part, "needs root: containers and networks are the kernel's")
    if missing:
        with locked(parts_home() / "installed" / "machine.lock"):
            _install(part, missing)


def _install(part: str, packages: list[str]) -> None:
    # RUNLEVEL=1: packages' services aren't started.
    environment = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["-y", "install", "--no-install-recommends", *packages]):
        ended = subprocess.run(
            ["apt-get", "-qq", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS_MAX,
        )
        if ended.returncode != 0:
            raise PartUnavailableError(part, f"apt-get {words[0]} failed: {ended.stderr.strip()[-500:]}")
