"""Whose a Secret or a ConfigMap is that a resource of ours writes. Pure.

The owner's name stands in an annotation, and not its uid: a resource that is deleted and made again finds its own.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.conditions import RESOURCE_CONFLICT
from tradeflow_operator.reconcile.plan import Step, Verdict, refused
from tradeflow_operator.resources import ObjectKey, Resource

OWNER_ANNOTATION = f"{GROUP}/owner"
"""Kind and name of the resource that writes this object: `JWTKeySet/gateway-keys`."""

MANAGED_BY = {"app.kubernetes.io/managed-by": "tradeflow-operator"}
"""On all that the operator makes, so that people find it."""

AdoptionPolicy = Literal["Never", "IfIdentical", "Adopt"]
"""What to do about an object of the wanted name that nobody of ours owns."""

DeletionPolicy = Literal["Retain", "Delete"]
"""Whether what a resource made stays when the resource goes."""


_HOW = "Set adoptionPolicy: Adopt to take it over, or name another one."


class ConfigMapSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a ConfigMap."""

    version: str
    """Its resourceVersion: a write fits only this one."""
    metadata: Mapping[str, Any]
    text: str | None
    orphaned: bool = False
    """Whether the resource that wrote it is gone."""


class WriteConfigMap(Step, frozen=True, kw_only=True):
    """Write an entry of a ConfigMap, and whose it is."""

    name: str
    entry: str
    text: str
    version: str | None
    """The version that was seen; None when there was none."""
    metadata: Mapping[str, Any]
    """See `owned_metadata`."""
    summary: str

    def sentence(self) -> str:
        """Say it."""
        return self.summary


def objection_to(
    resource: Resource[Any],
    what: str,
    found: Mapping[str, Any] | None,
    *,
    adoption: AdoptionPolicy,
    identical: bool,
    orphaned: bool,
) -> Verdict | None:
    """Say why an object may not be written: it is another resource's, or was there before and nobody gave it away.

    Args:
        resource: Who wants to write.
        what: The object, as in "ConfigMap limits".
        found: Its metadata, if it is there.
        adoption: What the resource says about objects that were there before.
        identical: Whether it has what it should have already.
        orphaned: Whether the resource is gone that wrote it: then it is as if nobody of ours had.
    """
    owner = owner_of(found) if found is not None else None
    if found is None or owner == owner_mark(resource.key):
        return None
    if owner is not None and not orphaned:
        return refused(RESOURCE_CONFLICT, f"The {what} belongs to {owner}; name another one.")
    if adoption == "Adopt" or (adoption == "IfIdentical" and identical):
        return None
    return refused("NotAdopted", f"The {what} was there before{'' if identical else ', with other content'}. {_HOW}")


def config_map_step(
    found: ConfigMapSeen | None, metadata: Mapping[str, Any], *, entry: str, text: str, summary: str
) -> WriteConfigMap | None:
    """Return the write that a ConfigMap needs, or None when it is as it should be."""
    if found is not None and found.text == text and is_marked(found.metadata, metadata):
        return None
    return WriteConfigMap(
        name=metadata["name"],
        entry=entry,
        text=text,
        version=found.version if found else None,
        metadata=metadata,
        summary=summary,
    )


def owner_of(metadata: Mapping[str, Any]) -> str | None:
    """Tell who writes an object, as its annotation has it."""
    found = (metadata.get("annotations") or {}).get(OWNER_ANNOTATION)
    return str(found) if found else None


def owner_mark(key: ObjectKey) -> str:
    """Return what the annotation of an object has to say."""
    return f"{key.kind}/{key.name}"


def owned_metadata(resource: Resource[Any], name: str, deletion: DeletionPolicy) -> dict[str, Any]:
    """Write the metadata of an object that a resource owns; with `Delete`, Kubernetes removes it with its owner."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": resource.namespace,
        "labels": dict(MANAGED_BY),
        "annotations": {OWNER_ANNOTATION: owner_mark(resource.key)},
    }
    if deletion == "Delete":
        metadata["ownerReferences"] = [
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": resource.key.kind,
                "name": resource.name,
                "uid": resource.uid,
            }
        ]
    return metadata


def is_marked(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether an object's metadata says all that `owned_metadata` asks for, and no owner more or less of ours."""
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return (
        wanted["labels"].items() <= labels.items()
        and wanted["annotations"].items() <= annotations.items()
        and _uids_of_ours(metadata) == _uids_of_ours(wanted)
    )


def merged_metadata(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object's metadata with what `owned_metadata` asks for; what others wrote stays."""
    others = [owner for owner in metadata.get("ownerReferences") or () if not _is_ours(owner)]
    return {
        **metadata,
        "labels": {**(metadata.get("labels") or {}), **wanted["labels"]},
        "annotations": {**(metadata.get("annotations") or {}), **wanted["annotations"]},
        "ownerReferences": [*others, *wanted.get("ownerReferences", ())],
    }


def _uids_of_ours(metadata: Mapping[str, Any]) -> set[str]:
    return {owner["uid"] for owner in metadata.get("ownerReferences") or () if _is_ours(owner)}


def _is_ours(owner: Mapping[str, Any]) -> bool:
    return str(owner.get("apiVersion", "")).startswith(f"{GROUP}/")
