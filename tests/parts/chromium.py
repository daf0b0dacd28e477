"""Chromium without a screen, of this machine's own Debian release.

A browser starts itself again and again, and so can't run under another release's loader. Everything but the C library
comes from the package's folder.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.apt import unpack_packages
from tests.parts.part import Place
from tests.parts.server import PartUnavailableError

PROGRAM = "chromium"
"""A script in the installed folder, so that the browser can be named by one path."""

PACKAGES = ("chromium-headless-shell", "fontconfig-config", "fonts-dejavu-core", "fonts-inter", "fonts-liberation2")
"""The browser, and what it writes with."""

OS_RELEASE = Path("/etc/os-release")
"""Names the release."""

SYSTEM_PACKAGES = ("libc6_", "libc-bin_", "libcrypt1_", "debconf_")
"""The loader and its C library belong together: the machine's own are used."""

_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">root/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <alias><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>sans-serif</family><prefer><family>Liberation Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""

_SCRIPT = """\
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="{libraries}" FONTCONFIG_FILE="$here/fonts.conf" XDG_CACHE_HOME="$here/cache"
exec "$here/root/usr/lib/chromium/chromium-headless-shell" "$@"
"""


class ChromiumPart:
    """A browser. It is no server: a test starts it by the path of its program."""

    name = "chromium"
    image = None
    image_port = 0

    def image_environment(self, place: Place) -> Mapping[str, str]:  # noqa: ARG002 - the port's signature
        """There is no image."""
        return {}

    def image_command(self, place: Place) -> Sequence[str]:  # noqa: ARG002 - the port's signature
        """There is no image."""
        return ()

    def install(self, folder: Path, log_file: Path) -> None:
        """Unpack it, and make it a single program."""
        unpack_packages(
            self.name, PACKAGES, suite=_release(), root=folder / "root", log_file=log_file, left_out=SYSTEM_PACKAGES
        )
        machine = f"{platform.machine()}-linux-gnu"
        places = (f"usr/lib/{machine}", f"lib/{machine}", f"usr/lib/{machine}/pulseaudio", f"usr/lib/{machine}/nss")
        (folder / "fonts.conf").write_text(_FONTS)
        script = folder / PROGRAM
        script.write_text(_SCRIPT.format(libraries=":".join(f"$here/root/{place}" for place in places)))
        script.chmod(0o755)

    def prepare(self, installed: Path, place: Place) -> None:
        """There is no server."""

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a browser."""
        return [str(installed / PROGRAM), *place.flags]

    def url(self, place: Place) -> str:  # noqa: ARG002 - the port's signature
        """There is no server."""
        return ""

    def ask(self, url: str) -> str:  # noqa: ARG002 - the port's signature
        """There is no server."""
        return ""


def _release() -> str:
    """Name this machine's Debian release.

    Raises:
        PartUnavailableError: It is no Debian.
    """
    lines = OS_RELEASE.read_text().splitlines() if OS_RELEASE.exists() else []
    words = dict(line.split("=", 1) for line in lines if "=" in line)
    if words.get("ID") != "debian" or "VERSION_CODENAME" not in words:
        raise PartUnavailableError("chromium", f"needs Debian, whose release {os.fspath(OS_RELEASE)} names")
    return words["VERSION_CODENAME"].strip('"')
