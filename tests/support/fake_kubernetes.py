"""A Kubernetes API in memory, as far as the operator asks it; tests/contract holds it and a real one to the same."""

import copy
import functools
import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kubernetes.aio.client import ApiClient, Configuration

from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.kubernetes import AlreadyExistsError, ApiConflictError, KubernetesClient
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.metrics import OperatorMetrics

_NAMESPACES = "/api/v1/namespaces/"
"""Before a namespace's name; what is in one has more after it."""


class FakeCluster:
    """What all its clients see."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.writes: list[tuple[str, str, Mapping[str, Any]]] = []
        self.is_away = False
        self.before_write: Callable[[str, str], None] = lambda _method, _path: None
        self._numbers = itertools.count(1)

    def put(self, collection: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object as a person would."""
        return self.request("POST", collection, body) or {}

    def events(self) -> list[dict[str, Any]]:
        return [body for path, body in self.objects.items() if "/events/" in path]

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        match method:
            case "GET":
                return self._get(path, query or {})
            case "POST":
                return copy.deepcopy(self._create(path, body or {}))
            case "PATCH" | "PUT":
                return copy.deepcopy(self._change(method, path, body or {}))
        return self._delete(path, body or {})

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        if path in self.objects:
            return copy.deepcopy(self.objects[path])
        if not _is_collection(path):
            return None
        there = [body for at, body in self.objects.items() if at.rpartition("/")[0] == path and _is_chosen(body, query)]
        start, limit = int(query.get("continue", "0")), int(query.get("limit", len(there) or 1))
        end = start + limit
        metadata = {"continue": str(end)} if end < len(there) else {}
        return {"items": copy.deepcopy(there[start:end]), "metadata": metadata}

    def _create(self, collection: str, body: Mapping[str, Any]) -> dict[str, Any]:
        new: dict[str, Any] = copy.deepcopy(dict(body))
        metadata = new.setdefault("metadata", {})
        number = next(self._numbers)
        if "generateName" in metadata:
            metadata["name"] = f"{metadata.pop('generateName')}{number}"
        parts = collection.split("/")
        if "namespaces" in parts[:-1]:
            namespace = parts[parts.index("namespaces") + 1]
            metadata.setdefault("namespace", namespace)
            if self.objects.get(f"{_NAMESPACES}{namespace}", {}).get("metadata", {}).get("deletionTimestamp"):
                message = f"The Kubernetes API refuses it: POST {collection}: 403 {namespace} is being terminated"
                raise RefusedError(message, reason="KubernetesRefused")
        path = f"{collection}/{metadata['name']}"
        if path in self.objects:
            raise AlreadyExistsError(f"POST {collection}: 409 {metadata['name']} exists")
        instant = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata |= {"uid": f"uid-{number}", "resourceVersion": str(number), "generation": 1}
        metadata.setdefault("creationTimestamp", instant)
        self.objects[path] = new
        return new

    def _change(self, method: str, path: str, patch: Mapping[str, Any]) -> dict[str, Any] | None:
        of_status = path.endswith("/status")
        path = path.removesuffix("/status")
        before = self.objects.get(path)
        if before is None:
            return None
        # Where a status is written, the real one compares no uid either.
        for field in ("resourceVersion",) if of_status else ("uid", "resourceVersion"):
            wanted = patch.get("metadata", {}).get(field)
            if wanted is not None and wanted != before["metadata"][field]:
                raise ApiConflictError(f"{method} {path}: 409 {field} differs")
        after = copy.deepcopy(dict(patch)) if method == "PUT" else _merged(before, patch)
        if of_status:
            after = {**copy.deepcopy(before), "status": after.get("status", {})}
        elif "status" in before:
            after["status"] = before["status"]
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        if after != before:
            after["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.objects[path] = after
        if after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers"):
            self._remove(path)
        return after

    def _delete(self, path: str, options: Mapping[str, Any]) -> dict[str, Any] | None:
        body = self.objects.get(path)
        if body is None:
            return None
        if options.get("preconditions", {}).get("uid", body["metadata"]["uid"]) != body["metadata"]["uid"]:
            raise ApiConflictError(f"DELETE {path}: 409 uid differs")
        within = self._within(path)
        if body["metadata"].get("finalizers") or within:
            body["metadata"]["deletionTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            body["metadata"]["resourceVersion"] = str(next(self._numbers))
            for inner in within:
                self._delete(inner, {})
        else:
            self._remove(path)
        return {}

    def _within(self, path: str) -> list[str]:
        """List what a namespace has, which goes with it and before it."""
        if not _is_namespace(path):
            return []
        return [at for at in self.objects if f"/namespaces/{path.removeprefix(_NAMESPACES)}/" in at]

    def _remove(self, path: str) -> None:
        del self.objects[path]
        for namespace in filter(_is_namespace, list(self.objects)):
            if self.objects[namespace]["metadata"].get("deletionTimestamp") and not self._within(namespace):
                del self.objects[namespace]


@functools.cache
def _unused_api() -> ApiClient:
    """Make one connection for all fakes, which never use it: its TLS context takes longer than a whole test."""
    return ApiClient(Configuration())


class FakeKubernetes(KubernetesClient):
    """A client of it, with the real one's fence and the real one's answers."""

    def __init__(self, cluster: FakeCluster, fence: Fence | None = None) -> None:
        super().__init__(_unused_api(), fence or open_fence(), OperatorMetrics())
        self.cluster = cluster

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        **_: Any,
    ) -> dict[str, Any] | None:
        assert seconds > 0
        if self.cluster.is_away:
            raise UnavailableError("The Kubernetes API doesn't answer: fake", reason="KubernetesUnavailable")
        parts = urlsplit(path)
        told = {**dict(parse_qsl(parts.query)), **(query or {})}
        path = parts.path
        if method != "GET":
            self.cluster.before_write(method, path)
            self.cluster.writes.append((method, path, body or {}))
        return self.cluster.request(method, path, body, told)


def _is_chosen(body: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Tell whether an object has the labels of a selector of equalities."""
    labels = body["metadata"].get("labels") or {}
    pairs = (pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
    return all(labels.get(name) == value for name, value in pairs)


def _is_namespace(path: str) -> bool:
    return path.startswith(_NAMESPACES) and "/" not in path.removeprefix(_NAMESPACES)


def _is_collection(path: str) -> bool:
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    return len(rest[2:] if rest[0] == "namespaces" and len(rest) > 2 else rest) == 1  # namespaces, place, plural, name


def _merged(before: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    after: dict[str, Any] = copy.deepcopy(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = _merged(after.get(name), value)
    return after


def conditions_of(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Map the conditions of a resource by type."""
    return {condition["type"]: condition for condition in body.get("status", {}).get("conditions", ())}
