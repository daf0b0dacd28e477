"""EventSchema: parse → check over all versions → set the level → register → verify → put the level back. Pure.

The level is changed before the schema is registered, so what it was is noted in the status first: a crash between the
two must not leave a subject with a level that no accepted schema asked for.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from tradeflow_operator.conditions import Condition
from tradeflow_operator.reconcile.connection import ConnectionRef
from tradeflow_operator.reconcile.plan import NoteInStatus, Plan, Step, in_sync, refused, waiting
from tradeflow_operator.resources import Resource

KIND = "EventSchema"

FOLLOWS_REGISTRY = "-"
"""Noted as the former level of a subject that had none of its own."""

MESSAGE_CHARACTERS_MAX = 900
"""Of what registries say about a schema; some say it at length."""

_COMPATIBLE = Condition(type="Compatible", status="True", reason="Compatible", message="")

Level = Literal["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"]


class SchemaReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a schema imports: the import's path, and the version of the subject that has it."""

    name: str
    subject: str
    version: int


class SchemaText(msgspec.Struct, frozen=True, kw_only=True):
    """What is registered."""

    type: str
    schema: str
    references: tuple[SchemaReference, ...] = ()


class SchemaFrom(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A ConfigMap's key in the same namespace, and the hash of what it has to hold."""

    config_map: str
    key: str
    sha256: str


class EventSchemaSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person writes; the CRD says what each field means."""

    connection_ref: ConnectionRef
    subject: str
    type: Literal["PROTOBUF", "AVRO", "JSON"]
    schema: str | None = None
    schema_from: SchemaFrom | None = None
    references: list[SchemaReference] = []
    compatibility: Level | None = None
    deletion_policy: Literal["Retain", "Delete"] = "Retain"


class EventSchemaSight(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry says."""

    id: int | None = None
    version: int | None = None
    """Of this schema; None when no version is it."""
    versions: tuple[int, ...] = ()
    level: str | None = None
    incompatibilities: tuple[str, ...] = ()
    """With each version, by the level as it is now; asked only of a schema that isn't registered."""
    text_sha256: str = ""
    """Of the schema's text."""


class SetLevel(Step, frozen=True, kw_only=True):
    """Set the subject's level; None lets it follow the registry's."""

    subject: str
    level: str | None
    is_first: bool = False
    """Whether what was the level before was noted for this step alone."""

    def sentence(self) -> str:
        """Say it."""
        if self.level is None:
            return f"let the subject {self.subject} follow the registry's compatibility level"
        return f"set the compatibility level of the subject {self.subject} to {self.level}"

    def noted_when_refused(self) -> Mapping[str, Any]:
        """Say that there is nothing to put back: the level that is there one day is somebody else's choice."""
        return {"levelBefore": None} if self.is_first else {}


class RegisterSchema(Step, frozen=True, kw_only=True):
    """Register the schema; one that is registered is left as it is."""

    subject: str
    after: int

    def sentence(self) -> str:
        """Say it."""
        return f"register the schema as the subject {self.subject}'s version after {self.after}"


class SoftDeleteSubject(Step, frozen=True, kw_only=True):
    """Hide the subject; its ids stay readable."""

    subject: str

    def sentence(self) -> str:
        """Say it."""
        return f"soft-delete the subject {self.subject}"


def shared_wish(spec: EventSchemaSpec) -> str | None:
    """Say what a resource asks of its subject, alike for those that ask alike; None: it deletes it one day."""
    if spec.deletion_policy == "Delete":
        return None
    sha256 = hashlib.sha256(spec.schema.encode()).hexdigest() if spec.schema is not None else ""
    if spec.schema_from is not None:
        sha256 = spec.schema_from.sha256
    references = sorted((each.name, each.subject, each.version) for each in spec.references)
    return msgspec.json.encode((spec.type, sha256, spec.compatibility, references)).decode()


def plan_schema(resource: Resource[EventSchemaSpec], observed: EventSchemaSight, now: datetime) -> Plan:
    """Decide what to do."""
    del now
    if resource.deleting:
        return _plan_deletion(resource, observed)
    keep = resource.spec.deletion_policy == "Delete"
    plan = _plan_registration(resource, observed)
    return msgspec.structs.replace(plan, keep_finalizer=keep)


def _plan_registration(resource: Resource[EventSchemaSpec], observed: EventSchemaSight) -> Plan:
    spec, subject = resource.spec, resource.spec.subject
    level_fits = spec.compatibility is None or observed.level == spec.compatibility
    if observed.version is not None:
        if not level_fits:
            return _under_way(resource, SetLevel(subject=subject, level=spec.compatibility))
        message = f"The subject {subject} has the schema as version {observed.version}."
        return Plan(verdict=in_sync(message, status=_seen(observed), conditions=(_COMPATIBLE,)))
    if _was_rejected(resource, observed):
        return _refused(resource, resource.status["rejection"], observed, rejected=resource.status["rejected"])
    if observed.incompatibilities and (level_fits or _promises_no_less(spec.compatibility, observed.level)):
        return _plan_incompatible(resource, observed)
    if not level_fits:
        return _under_way(resource, *_steps_to_level(resource, observed))
    # The level is the target's by now: what was observed is a check over all versions against it.
    return _under_way(resource, RegisterSchema(subject=subject, after=max(observed.versions, default=0)))


def _steps_to_level(resource: Resource[EventSchemaSpec], observed: EventSchemaSight) -> tuple[Step, ...]:
    subject, level = resource.spec.subject, resource.spec.compatibility
    if resource.status.get("levelBefore"):
        # Noted once: a second note after a crash would take our own level for the former one.
        return (SetLevel(subject=subject, level=level),)
    note = NoteInStatus(fields={"levelBefore": observed.level or FOLLOWS_REGISTRY})
    return note, SetLevel(subject=subject, level=level, is_first=True)


def _promises_no_less(target: str | None, level: str | None) -> bool:
    """Tell whether what breaks `level` breaks the target too: nothing has to be set to know that it is refused."""
    return target is not None and level is not None and _promises(level) <= _promises(target)


def _promises(level: str) -> set[str]:
    """Name the directions that a level promises; all versions are asked anyway, so transitive ones promise no more."""
    direction = level.removesuffix("_TRANSITIVE")
    return {"BACKWARD", "FORWARD"} if direction == "FULL" else {direction} - {"NONE"}


def _plan_incompatible(resource: Resource[EventSchemaSpec], observed: EventSchemaSight) -> Plan:
    said = f"It isn't compatible with {' | '.join(observed.incompatibilities)}"[:MESSAGE_CHARACTERS_MAX]
    message = f"{said.rstrip('. ')}. Change the schema, or spec.compatibility."
    former = resource.status.get("levelBefore")
    level = None if former == FOLLOWS_REGISTRY else former
    if former is None:
        return _refused(resource, message, observed)
    # Noted, since by the former level it may well be compatible: else it would be tried again at each resync.
    note = NoteInStatus(
        fields={"levelBefore": None, "rejected": _fingerprint(resource, observed), "rejection": message}
    )
    back = SetLevel(subject=resource.spec.subject, level=level)
    return _under_way(resource, *((back,) if observed.level != level else ()), note)


def _refused(
    resource: Resource[EventSchemaSpec], message: str, observed: EventSchemaSight, *, rejected: str | None = None
) -> Plan:
    fits = Condition(type="Compatible", status="False", reason="Incompatible", message=message)
    # What was registered before stays registered, and goes with the resource.
    before = resource.status
    seen = msgspec.structs.replace(observed, id=before.get("schemaID"), version=before.get("version"))
    kept = {"rejected": rejected, "rejection": message} if rejected else {}
    return Plan(verdict=refused("Incompatible", message, status=_seen(seen) | kept, conditions=(fits,)))


def _was_rejected(resource: Resource[EventSchemaSpec], observed: EventSchemaSight) -> bool:
    rejected = resource.status.get("rejected")
    return bool(rejected) and rejected == _fingerprint(resource, observed) and not resource.force_requested


def _fingerprint(resource: Resource[EventSchemaSpec], observed: EventSchemaSight) -> str:
    """Name what was rejected: this text, by this level, after these versions."""
    newest = max(observed.versions, default=0)
    return f"{observed.text_sha256[:16]}/{resource.spec.compatibility}/{newest}"


def _plan_deletion(resource: Resource[EventSchemaSpec], observed: EventSchemaSight) -> Plan:
    subject = resource.spec.subject
    # What was registered right before a crash isn't in the status; the next look would have found it.
    registered = max(resource.status.get("version") or 0, observed.version or 0)
    if resource.spec.deletion_policy != "Delete" or not observed.versions or not registered:
        return Plan(verdict=waiting("Deleted", f"The subject {subject} is as it should be."))
    strangers = [version for version in observed.versions if version > registered]
    if strangers:
        why = f"it has versions that this resource didn't register: {', '.join(map(str, strangers))}."
        return Plan(verdict=refused("Retained", why), farewell=f"The subject {subject} stays: {why}")
    verdict = waiting("Deleting", f"The subject {subject} is being soft-deleted.", status=_seen(observed))
    return Plan(verdict=verdict, steps=(SoftDeleteSubject(subject=subject),), keep_finalizer=True)


def _under_way(resource: Resource[EventSchemaSpec], *steps: Step) -> Plan:
    message = f"The schema of the subject {resource.spec.subject} is being registered."
    return Plan(verdict=waiting("Registering", message, ready=None, status=dict(resource.status)), steps=steps)


def _seen(observed: EventSchemaSight) -> dict[str, Any]:
    newest = max(observed.versions, default=None)
    return {
        "schemaID": observed.id,
        "version": observed.version,
        "newestVersion": newest if newest != observed.version else None,
        "level": observed.level,
    }
