"""Key sets on a real API server, as tests write and read them."""

import base64
import json
from typing import Any

from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.waiting import eventually

SECONDS_MAX = 60.0
"""For what takes a second or two on an idle machine."""

QUICKLY = {
    "publishBefore": "2s",
    "jwksCacheTTL": "1s",
    "clockSkew": "1s",
    "maxTokenTTL": "5s",
}
"""A rotation in seconds."""


def a_resource(kind: str, name: str, annotations: Any = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "annotations": annotations or {}}
    return {"apiVersion": "tradeflow.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def a_key_set(name: str, annotations: Any = None, **spec: Any) -> dict[str, Any]:
    return a_resource("JWTKeySet", name, annotations, **{"algorithm": "EdDSA", **QUICKLY, **spec})


def condition(shop: KubernetesNamespace, kind: str, name: str, of_type: str = "Ready") -> tuple[str, str]:
    """Return a condition's status and reason, of the newest generation only."""
    body = shop.get(kind, name)
    for each in body.get("status", {}).get("conditions", ()):
        if each["type"] == of_type and each.get("observedGeneration") == body["metadata"]["generation"]:
            return each["status"], each["reason"]
    return "Unknown", "Pending"


async def until_ready(shop: KubernetesNamespace, kind: str, name: str, status: str = "True") -> str:
    """Wait for Ready, and return its reason."""
    await eventually(lambda: condition(shop, kind, name)[0] == status, seconds_max=SECONDS_MAX)
    return condition(shop, kind, name)[1]


def private_keys(shop: KubernetesNamespace, secret: str) -> list[dict[str, Any]]:
    """Read a Secret as the gateway does."""
    data = shop.get("secret", secret)["data"]
    keys: list[dict[str, Any]] = json.loads(base64.b64decode(data["signing-keys.json"]))["keys"]
    return keys


def public_kids(shop: KubernetesNamespace, config_map: str) -> list[str]:
    keys = json.loads(shop.get("configmap", config_map)["data"]["jwks.json"])["keys"]
    return [key["kid"] for key in keys]


def active_kids(keys: list[dict[str, Any]]) -> list[str]:
    return [key["kid"] for key in keys if key["status"] == "active"]
