"""Key sets on a real API server, as tests write and read them."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.operator_shop import OperatorNamespace

KEY_SET = "JWTKeySet"

PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi")
"""Of a JWK: nobody but who signs may see them."""

QUICKLY = {
    "publishBefore": "2s",
    "jwksCacheTTL": "1s",
    "clockSkew": "1s",
    "maxTokenTTL": "5s",
}
"""A rotation in seconds."""


def apply_key_set(
    shop: OperatorNamespace, name: str, annotations: Mapping[str, str] | None = None, /, **spec: Any
) -> None:
    """Make a set, or change it to this."""
    shop.apply(KEY_SET, name, annotations, **{"algorithm": "EdDSA", **QUICKLY, **spec})


def private_keys(namespace: KubernetesNamespace, secret: str) -> list[dict[str, Any]]:
    """Read a Secret as the gateway does."""
    return keys_in(namespace.get("secret", secret))


def keys_in(secret: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the private keys of a Secret's body."""
    keys: list[dict[str, Any]] = json.loads(base64.b64decode(secret["data"]["signing-keys.json"]))["keys"]
    return keys


def public_kids(namespace: KubernetesNamespace, config_map: str) -> list[str]:
    keys = json.loads(namespace.get("configmap", config_map)["data"]["jwks.json"])["keys"]
    return [key["kid"] for key in keys]


def active_kids(keys: list[dict[str, Any]]) -> list[str]:
    return [key["kid"] for key in keys if key["status"] == "active"]
