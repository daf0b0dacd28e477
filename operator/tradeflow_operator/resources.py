"""Resources as the operator sees them: who they are, what they ask for, what was said of them before."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from tradeflow_operator import GROUP
from tradeflow_operator.errors import RefusedError

FINALIZER = f"{GROUP}/external"
"""Held only where deleting the resource has to delete something outside of Kubernetes."""

PAUSED_ANNOTATION = f"{GROUP}/paused"
""""true": the operator touches nothing of this resource."""

FORCE_ANNOTATION = f"{GROUP}/force"
"""Any new value asks for one more reconcile at once; the operator never changes it."""

S = TypeVar("S")


class ObjectKey(NamedTuple):
    """Names one resource."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Resource(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """One resource with its spec, parsed."""

    key: ObjectKey
    uid: str
    version: str
    """Its resourceVersion: a write of its status fits only this one."""
    generation: int
    created_at: datetime
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    deleting: bool
    spec: S
    status: Mapping[str, Any]
    """As it was last read: free-form, since an older operator may have written it."""

    @property
    def namespace(self) -> str:
        """The namespace it lives in, and whose Secrets and ConfigMaps it may name."""
        return self.key.namespace

    @property
    def name(self) -> str:
        """Its name."""
        return self.key.name

    @property
    def paused(self) -> bool:
        """Whether a person asked the operator to leave it alone."""
        return is_paused(self.annotations)

    @property
    def force_requested(self) -> str | None:
        """The value of the force annotation, if it wasn't handled yet."""
        wanted = self.annotations.get(FORCE_ANNOTATION)
        return wanted if wanted and wanted != self.status.get("lastHandledForce") else None

    @property
    def has_finalizer(self) -> bool:
        """Whether Kubernetes waits for us before it removes the resource."""
        return FINALIZER in self.finalizers


def is_paused(annotations: Mapping[str, str]) -> bool:
    """Tell whether a person asked the operator to leave a resource alone."""
    return annotations.get(PAUSED_ANNOTATION, "").lower() == "true"


def key_of(kind: str, body: Mapping[str, Any]) -> ObjectKey:
    """Name the resource that a body is of."""
    metadata = body["metadata"]
    return ObjectKey(kind, metadata["namespace"], metadata["name"])


def parse_resource(kind: str, body: Mapping[str, Any], spec_type: type[S]) -> Resource[S]:
    """Read a resource.

    Raises:
        RefusedError: Its spec isn't what the kind asks for (`InvalidSpec`); the message names the field.
    """
    try:
        spec = msgspec.convert(body.get("spec") or {}, spec_type)
    except msgspec.ValidationError as error:
        where = str(error).replace("$", "spec")
        raise RefusedError(f"The spec can't be read: {where}", reason="InvalidSpec") from error
    metadata = body["metadata"]
    return Resource(
        key=key_of(kind, body),
        uid=metadata.get("uid", ""),
        version=metadata.get("resourceVersion", ""),
        generation=metadata.get("generation", 1),
        created_at=instant_of(metadata.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC),
        annotations=metadata.get("annotations") or {},
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleting=bool(metadata.get("deletionTimestamp")),
        spec=spec,
        status=body.get("status") or {},
    )


def instant_of(text: str | None) -> datetime | None:
    """Read an instant as Kubernetes writes it; None when there is none."""
    return datetime.fromisoformat(text) if text else None


def text_of(instant: datetime) -> str:
    """Write an instant as Kubernetes does: UTC, whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def wishes_of(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell what of a resource is a wish, so that our own answers in its status are told apart from changes."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    deleting = bool(metadata.get("deletionTimestamp"))
    return (
        metadata.get("uid"),
        metadata.get("generation"),
        deleting,
        sorted((name, value) for name, value in annotations.items() if name.startswith(f"{GROUP}/")),
        metadata.get("finalizers") if deleting else None,
    )
