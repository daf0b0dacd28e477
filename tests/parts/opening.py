"""A server by its part's name and its folder: in a container where that is possible, else of packages."""

import os
from collections.abc import Sequence
from pathlib import Path

from tests.parts.chromium import ChromiumPart
from tests.parts.containers import ContainerServer, why_no_container
from tests.parts.control_plane import ControlPlane
from tests.parts.go_programs import PROGRAMS, ensure_program
from tests.parts.kafka import KafkaPart
from tests.parts.kubernetes import KubernetesPart
from tests.parts.mariadb import MariadbPart
from tests.parts.mysql import MysqlPart
from tests.parts.packaged import PackagedServer, ensure_installed
from tests.parts.part import Part
from tests.parts.prometheus import PrometheusPart
from tests.parts.redis import RedisPart
from tests.parts.registry import RegistryPart
from tests.parts.server import Server
from tests.parts.zipkin import ZipkinPart

_ALL: tuple[Part, ...] = (
    MysqlPart(),
    MariadbPart(),
    KafkaPart(),
    RedisPart(),
    RegistryPart(),
    ZipkinPart(),
    PrometheusPart(),
    ChromiumPart(),
    KubernetesPart(),
)

PARTS: dict[str, Part] = {part.name: part for part in _ALL}
"""All kinds of servers, by name."""

CONTAINERS, PACKAGES = "containers", "packages"
"""The two providers; `TRADEFLOW_PARTS_PROVIDER` asks for one of them."""

_chosen: dict[str, str] = {}


def provider_of(part: Part) -> str:
    """Choose where this machine gets a part from, once a process."""
    asked = os.environ.get("TRADEFLOW_PARTS_PROVIDER")
    if asked in {CONTAINERS, PACKAGES} and part.image is not None:
        return str(asked)
    if part.name not in _chosen:
        _chosen[part.name] = PACKAGES if why_no_container(part) else CONTAINERS
    return _chosen[part.name]


def install(name: str) -> None:
    """Get everything that servers of a part need, so that they start without a network; or a program of `PROGRAMS`.

    Raises:
        PartUnavailableError: It can't be had here.
    """
    if name in PROGRAMS:
        ensure_program(name)
    elif provider_of(PARTS[name]) == PACKAGES:
        ensure_installed(PARTS[name])


def installed_folder(name: str) -> Path:
    """Return where the packages of a part lie; install them if need be.

    Raises:
        PartUnavailableError: It can't be had here.
    """
    return ensure_installed(PARTS[name])


def open_server(name: str, folder: Path, flags: Sequence[str] = ()) -> Server:
    """Return the server of a folder, running or not; the folder remembers where its server comes from."""
    part = PARTS[name]
    provider_file = folder / "provider"
    if not provider_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        provider_file.write_text(f"{provider_of(part)} {name}")
    provider = provider_file.read_text().split()[0]
    if provider == CONTAINERS:
        return ContainerServer(part, folder, flags)
    if isinstance(part, KubernetesPart):
        return ControlPlane(part, folder, flags)
    return PackagedServer(part, folder, flags)


def server_in(folder: Path) -> Server | None:
    """Return the server that lives in a folder, if one does; one of a kind that only other code knows is left alone."""
    provider_file = folder / "provider"
    if not provider_file.exists() or provider_file.read_text().split()[1] not in PARTS:
        return None
    return open_server(provider_file.read_text().split()[1], folder)
