"""Secrets and ConfigMaps in folders, as a kubelet mounts them: there is none where an API server has no nodes.

A kubelet writes each version of an object into a folder of its own and swaps one link, so that whoever reads sees all
of a version or nothing of it. When it does so is its own affair: each mount here is late by as much as it is told.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.operator.object_watch import ObjectWatch

LOOK_SECONDS = 0.1

DATA = "..data"
"""The link that is swapped, by the name that kubelets give it."""


class Mount:
    """One volume of one Pod."""

    def __init__(self, folder: Path, *, seconds_late: float = 0.0) -> None:
        """Make an empty folder."""
        folder.mkdir()
        self.folder = folder
        self._seconds_late = seconds_late
        self._version = ""

    async def follow(self, watch: ObjectWatch) -> None:
        """Show each version of an object, late, until cancelled."""
        while True:
            newest = next(reversed(watch.versions()), None)
            if newest is not None and newest["metadata"]["resourceVersion"] != self._version:
                await asyncio.sleep(self._seconds_late)
                self.show(newest)
            await asyncio.sleep(LOOK_SECONDS)

    def show(self, body: Mapping[str, Any]) -> None:
        """Swap the link to a version of an object."""
        self._version = body["metadata"]["resourceVersion"]
        of_version = self.folder / f"..{self._version}"
        of_version.mkdir()
        for name, content in files_of(body).items():
            (of_version / name).write_bytes(content)
            with suppress(FileExistsError):
                (self.folder / name).symlink_to(Path(DATA) / name)
        draft = self.folder / f"{DATA}_tmp"
        draft.symlink_to(of_version.name)
        draft.replace(self.folder / DATA)


def files_of(body: Mapping[str, Any]) -> dict[str, bytes]:
    """Return an object's entries as files."""
    decode: Callable[[str], bytes] = base64.b64decode if body["kind"] == "Secret" else str.encode
    return {name: decode(content) for name, content in body["data"].items()}


@asynccontextmanager
async def mounted(mounts: Mapping[Mount, ObjectWatch]) -> AsyncIterator[None]:
    """Let mounts follow their objects while the body runs.

    Raises:
        ExceptionGroup: A mount failed.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(mount.follow(watch)) for mount, watch in mounts.items()]
        yield
        for task in tasks:
            task.cancel()
