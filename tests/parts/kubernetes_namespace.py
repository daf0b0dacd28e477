"""A namespace of a test's own, on an API server that tests share."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.parts.control_plane import ControlPlane


class KubernetesNamespace:
    """What a test sees of an API server."""

    def __init__(self, server: ControlPlane, name: str) -> None:
        """Take a namespace that exists."""
        self.server = server
        self.name = name

    @property
    def kubeconfig(self) -> Path:
        """The file that makes clients a super-user, of all namespaces."""
        return self.server.kubeconfig

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl in this namespace, and return what it prints.

        Raises:
            AssertionError: It failed; the message is its own.
        """
        return self.server.kubectl("--namespace", self.name, *words, stdin=stdin)

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Create objects, or change them to this."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--filename", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return one object.

        Raises:
            AssertionError: There is none.
        """
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "--output", "json"))
        return found

    def all_of(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "--output", "json"))["items"]
        return found

    def writes(self) -> list[dict[str, Any]]:
        """Return the audit's events about this namespace, oldest first."""
        return [event for event in self.server.writes() if event.get("objectRef", {}).get("namespace") == self.name]


@contextmanager
def fresh_namespace(server: ControlPlane) -> Iterator[KubernetesNamespace]:
    """Make a namespace, and begin to remove it afterwards; its end takes the controllers some seconds."""
    name = f"test-{uuid4().hex[:12]}"
    server.kubectl("create", "namespace", name)
    try:
        yield KubernetesNamespace(server, name)
    finally:
        server.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
