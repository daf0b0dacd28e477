"""The resources as the watches last told them, and who depends on whom and claims what."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tradeflow_operator.conditions import REGISTRY_UNIDENTIFIED, RESOURCE_CONFLICT
from tradeflow_operator.resources import ObjectKey, wishes_of

_HEAVY = ("managedFields", "selfLink")
"""What takes memory and says nothing to the operator."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole resource."""


_OWNS_NOTHING = frozenset({RESOURCE_CONFLICT, REGISTRY_UNIDENTIFIED})
"""Reasons of what was looked at and wasn't given what it claims."""


class KnownResources:
    """Bodies by key. What is told of a resource replaces what was told before."""

    def __init__(self) -> None:
        """Begin with none."""
        self._bodies: dict[ObjectKey, Mapping[str, Any]] = {}
        self._dependents: dict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._references: dict[ObjectKey, Sequence[ObjectKey]] = {}
        self._claimants: dict[tuple[str, str], dict[ObjectKey, tuple[str, str]]] = defaultdict(dict)
        self._claims: dict[ObjectKey, tuple[str, str]] = {}
        self._shared: dict[ObjectKey, str] = {}

    def put(self, key: ObjectKey, body: Mapping[str, Any]) -> None:
        """Note a resource as it is now."""
        self._bodies[key] = _lightened(body)

    def put_own(self, key: ObjectKey, body: Mapping[str, Any]) -> None:
        """Note the API server's answer to a request of ours; a wish in it that is new is left to the watch to tell."""
        known = self._bodies.get(key)
        if known is not None and wishes_of(known) == wishes_of(body):
            self.put(key, body)

    def remove(self, key: ObjectKey) -> None:
        """Note that a resource is gone."""
        self._bodies.pop(key, None)
        self.index(key, references=(), claim=None)

    def get(self, key: ObjectKey) -> Mapping[str, Any] | None:
        """Return what was last told of a resource."""
        return self._bodies.get(key)

    def of_kind(self, kind: str) -> Iterator[ObjectKey]:
        """Walk over the resources of a kind."""
        return (key for key in list(self._bodies) if key.kind == kind)

    def all(self) -> Iterator[tuple[ObjectKey, Mapping[str, Any]]]:
        """Walk over all resources."""
        return iter(list(self._bodies.items()))

    def index(
        self, key: ObjectKey, *, references: Sequence[ObjectKey], claim: str | None, shares: str | None = None
    ) -> None:
        """Note what a resource refers to, what it claims, and what others may ask of that beside it."""
        for referred in self._references.pop(key, ()):
            self._dependents[referred].discard(key)
        for referred in references:
            self._dependents[referred].add(key)
        if references:
            self._references[key] = references
        if key in self._claims:
            self._claimants[self._claims.pop(key)].pop(key, None)
        self._shared.pop(key, None)
        body = self._bodies.get(key)
        if claim is not None and body is not None:
            full = (key.kind, claim)
            self._claims[key] = full
            metadata = body["metadata"]
            self._claimants[full][key] = (metadata.get("creationTimestamp") or "", metadata.get("uid") or "")
            if shares is not None:
                self._shared[key] = shares

    def dependents_of(self, key: ObjectKey) -> list[ObjectKey]:
        """List the resources that refer to one."""
        return list(self._dependents.get(key, ()))

    def references_of(self, key: ObjectKey) -> Sequence[ObjectKey]:
        """List the resources that one refers to."""
        return self._references.get(key, ())

    def rivals_of(self, key: ObjectKey) -> list[ObjectKey]:
        """List the other resources that claim the same."""
        claim = self._claims.get(key)
        return [other for other in self._claimants.get(claim, {}) if other != key] if claim else []

    def shared_by(self, key: ObjectKey) -> str | None:
        """Tell what others may ask beside a resource of what it claims."""
        return self._shared.get(key)

    def owner_of_claim(self, key: ObjectKey) -> ObjectKey:
        """Find who owns what a resource claims: the oldest, by the API server's clock, which counts seconds.

        Of those of one second it is whoever has it already, then the one with the least uid. Who asks the very same as
        the owner, where that is shared, owns it too.
        """
        claim = self._claims.get(key)
        claimants = self._claimants.get(claim, {}) if claim else {}
        if not claimants:
            return key
        oldest = min(claimants, key=lambda other: self._seniority(other, *claimants[other]))
        is_shared = self.shared_by(key) is not None and self.shared_by(key) == self.shared_by(oldest)
        return key if is_shared else oldest

    def _seniority(self, key: ObjectKey, created_at: str, uid: str) -> tuple[str, bool, str]:
        return created_at, not _has_its_claim(self._bodies[key]), uid


def _has_its_claim(body: Mapping[str, Any]) -> bool:
    """Tell whether a resource was served before, and not turned away."""
    status = body.get("status") or {}
    reasons = [condition.get("reason") for condition in status.get("conditions") or ()]
    return status.get("observedGeneration") is not None and _OWNS_NOTHING.isdisjoint(reasons)


def _lightened(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = {name: value for name, value in body["metadata"].items() if name not in _HEAVY}
    annotations = metadata.get("annotations")
    if annotations and LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != LAST_APPLIED}
    return {**body, "metadata": metadata}
