"""All that an object ever was, as whoever watches it is told: each write, none left out."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.parts.go_programs import ensure_program
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.waiting import wait_until


class ObjectWatch:
    """What has been told so far of one object."""

    def __init__(self, file: Path, name: str) -> None:
        """Read what kubectl writes into a file."""
        self._file = file
        self._name = name

    def versions(self) -> list[dict[str, Any]]:
        """Return what it was, oldest first; what is told twice counts once."""
        found = {body["metadata"]["resourceVersion"]: body for body in self._told()}
        return [body for body in found.values() if body["metadata"]["name"] == self._name]

    def newest_version(self) -> str:
        """Tell the version that was told last; nothing before the first."""
        return next((body["metadata"]["resourceVersion"] for body in reversed(self.versions())), "")

    def _told(self) -> Iterator[dict[str, Any]]:
        text, decoder, position = self._file.read_text(), json.JSONDecoder(), 0
        while position < len(text):
            try:
                body, position = decoder.raw_decode(text, position)
            except ValueError:
                return  # half written
            position += len(text[position:]) - len(text[position:].lstrip())
            yield body


@contextmanager
def watching(namespace: KubernetesNamespace, kind: str, name: str, folder: Path) -> Iterator[ObjectWatch]:
    """Watch during the body.

    Raises:
        AssertionError: The watch ended by itself, or is late: then what was seen isn't all.
    """
    file = folder / f"{kind}-{name}.watched"
    watch = ObjectWatch(file, name)
    words = ("--namespace", namespace.name, "get", kind, "--watch", "--output", "json")
    with file.open("w") as output:
        process = subprocess.Popen(
            [ensure_program("kubectl"), "--kubeconfig", namespace.kubeconfig, *words], stdout=output
        )
    try:
        yield watch
        assert process.poll() is None, f"the watch of {kind} ended"
        newest = namespace.get(kind, name)["metadata"]["resourceVersion"]
        wait_until(lambda: int(watch.newest_version() or 0) >= int(newest), "the watch is late")
    finally:
        process.kill()
        process.wait()
