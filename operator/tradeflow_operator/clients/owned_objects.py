"""ConfigMaps and Secrets that a resource of ours writes as a whole, each write fitting only what was seen."""

from collections.abc import Mapping
from typing import Any

from tradeflow_operator.clients.kubernetes import ApiConflictError, KubernetesClient, object_path, resource_path
from tradeflow_operator.reconcile.ownership import ConfigMapSeen, WriteConfigMap, merged_metadata, owner_mark, owner_of
from tradeflow_operator.resources import ObjectKey

_PLURALS = {"JWTKeySet": "jwtkeysets", "RateLimitPolicy": "ratelimitpolicies"}
"""Of the kinds that write objects, as owners name them."""


class OwnedObjects:
    """Reads and writes."""

    def __init__(self, kubernetes: KubernetesClient) -> None:
        """Take a client."""
        self._kubernetes = kubernetes

    async def read_entry(self, reader: ObjectKey, name: str, entry: str) -> ConfigMapSeen | None:
        """Look at one entry of a ConfigMap in a resource's namespace."""
        found = await self._kubernetes.read(object_path("api/v1", "configmaps", reader.namespace, name))
        if found is None:
            return None
        metadata = found["metadata"]
        text = (found.get("data") or {}).get(entry)
        orphaned = await self.is_orphaned(reader, metadata)
        return ConfigMapSeen(version=metadata["resourceVersion"], metadata=metadata, text=text, orphaned=orphaned)

    async def is_orphaned(self, reader: ObjectKey, metadata: Mapping[str, Any]) -> bool:
        """Tell whether an object was written by a resource that is gone; who reads it is there."""
        owner = owner_of(metadata)
        kind, _, name = (owner or "").partition("/")
        if owner in {None, owner_mark(reader)} or kind not in _PLURALS:
            return False
        # Asked of the API server: at a start the watches may not have told of it yet.
        return await self._kubernetes.read(resource_path(_PLURALS[kind], reader.namespace, name)) is None

    async def write_entry(self, namespace: str, step: WriteConfigMap) -> None:
        """Write an entry; other entries stay.

        Raises:
            ApiConflictError: Somebody wrote meanwhile.
        """
        found = await self.read_fitting("configmaps", namespace, step.name, step.version)
        data = {**((found or {}).get("data") or {}), step.entry: step.text}
        body = {**(found or {}), "apiVersion": "v1", "kind": "ConfigMap", "data": data}
        await self.put("configmaps", namespace, step.name, found, body, step.metadata)

    async def read_fitting(self, plural: str, namespace: str, name: str, version: str | None) -> dict[str, Any] | None:
        """Read an object that still has the version that was planned for; None stands for no object.

        Raises:
            ApiConflictError: It has another.
        """
        found = await self._kubernetes.read(object_path("api/v1", plural, namespace, name))
        if (found or {}).get("metadata", {}).get("resourceVersion") != version:
            raise ApiConflictError(f"{name} changed meanwhile.")
        return found

    async def put(
        self,
        plural: str,
        namespace: str,
        name: str,
        found: Mapping[str, Any] | None,
        body: Mapping[str, Any],
        metadata: Mapping[str, Any],
    ) -> None:
        """Create the object, or replace the one that was found."""
        before = (found or {}).get("metadata") or {"name": name, "namespace": namespace}
        body = {**body, "metadata": merged_metadata(before, metadata)}
        if found is None:
            await self._kubernetes.create(object_path("api/v1", plural, namespace), body)
        else:
            await self._kubernetes.replace(object_path("api/v1", plural, namespace, name), body)
