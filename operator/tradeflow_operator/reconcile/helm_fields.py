"""Which fields of an object helm owns: it applies on the server, and the API server takes from it what others change.

What an admission webhook makes of a field that helm applies stays helm's.
"""

import json
from collections.abc import Mapping
from functools import reduce
from typing import Any

_HELM = "helm"
"""As whom helm writes."""

_CONTAINERS = ("f:spec", "f:template", "f:spec", "f:containers")
"""Where the containers of a Deployment are."""


def fields_of_helm(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Read which fields of an object helm owns; none where it didn't make it."""
    return [
        entry.get("fieldsV1") or {}
        for entry in metadata.get("managedFields") or ()
        if (entry.get("manager"), entry.get("operation")) == (_HELM, "Apply")
    ]


def owns_image(deployment: Mapping[str, Any], container: Mapping[str, Any]) -> bool:
    """Tell whether the image of a Deployment's container is as helm set it, or as admission made it of that."""
    key = f"k:{json.dumps({'name': container.get('name')}, separators=(',', ':'))}"
    return any(
        "f:image" in reduce(lambda inner, part: inner.get(part) or {}, (*_CONTAINERS, key), fields)
        for fields in fields_of_helm(deployment["metadata"])
    )
