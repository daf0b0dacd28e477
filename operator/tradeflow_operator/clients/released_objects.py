"""What helm owns of a release's objects: who changes a field by hand takes it from helm, and the API server notes that.

Helm sets back what it applies again, but for ports: those of a Service are merged by their numbers, so one whose number
somebody changed would stay beside helm's own, by the same name, which Kubernetes refuses.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path
from tradeflow_operator.reconcile.helm_fields import fields_of_helm
from tradeflow_operator.reconcile.platform_drift import ports_beside_helms

_COLLECTIONS = (
    ("Deployment", "apis/apps/v1", "deployments"),
    ("Service", "api/v1", "services"),
    ("ConfigMap", "api/v1", "configmaps"),
    ("Secret", "api/v1", "secrets"),
    ("PodDisruptionBudget", "apis/policy/v1", "poddisruptionbudgets"),
    ("NetworkPolicy", "apis/networking.k8s.io/v1", "networkpolicies"),
    ("HorizontalPodAutoscaler", "apis/autoscaling/v2", "horizontalpodautoscalers"),
)
"""The kinds whose changes can make a platform fail; of our own, which are listed anyway, only what is gone counts."""

OBJECTS_MAX = 500
"""Of one kind in one answer: far more than a release has."""

DIGEST_CHARACTERS = 12
"""Enough to tell a change; who wants to hide one may stop the operator as well."""

_SERVICE = "Service "


class ReleasedObjects:
    """Reads, in listings of metadata alone."""

    def __init__(self, kubernetes: KubernetesClient) -> None:
        """Take a client."""
        self._kubernetes = kubernetes

    async def owned_fields(self, namespace: str, release: str) -> dict[str, str]:
        """Tell, of each object of a release, a digest of the fields that helm owns; none for what helm didn't make."""
        lists = await asyncio.gather(*(self._listed(namespace, release, *of_kind) for of_kind in _COLLECTIONS))
        return {name: digest for listed in lists for name, digest in listed.items()}

    async def make_way(self, namespace: str, names: Sequence[str]) -> None:
        """Take away, of the Services among these objects, the ports that keep helm from writing its own."""
        for name in names:
            if name.startswith(_SERVICE):
                path = object_path("api/v1", "services", namespace, name.removeprefix(_SERVICE))
                service = await self._kubernetes.read(path)
                ports = ports_beside_helms(service) if service else None
                if service and ports is not None:
                    version = {"resourceVersion": service["metadata"]["resourceVersion"]}
                    await self._kubernetes.patch(path, {"metadata": version, "spec": {"ports": ports}})

    async def _listed(self, namespace: str, release: str, kind: str, api: str, plural: str) -> dict[str, str]:
        selector = f"app.kubernetes.io/instance={release}"
        path = object_path(api, plural, namespace)
        found = await self._kubernetes.list_metadata(path, limit=OBJECTS_MAX, selector=selector)
        metadata = [body["metadata"] for body in found.get("items") or ()]
        digests = {f"{kind} {each['name']}": _digest_of(each) for each in metadata}
        return {name: digest for name, digest in digests.items() if digest is not None}


def _digest_of(metadata: Mapping[str, Any]) -> str | None:
    owned = fields_of_helm(metadata)
    text = json.dumps(owned, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS] if owned else None
