"""EventSchema's effects: the registry's API."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path
from tradeflow_operator.clients.registry import IncompatibleError, RegistryClient
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.kinds import Kind
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_schema import (
    KIND,
    EventSchemaSight,
    EventSchemaSpec,
    RegisterSchema,
    SchemaText,
    SetLevel,
    SoftDeleteSubject,
    plan_schema,
    shared_wish,
)
from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.resources import ObjectKey, Resource

CONFIG_MAP_SECONDS = 60.0
"""How soon a ConfigMap that isn't as it should be is read again."""

SCHEMA_NOT_FOUND, SCHEMA_HASH_DIFFERS = "SchemaNotFound", "SchemaHashDiffers"

_NO_TEXT = frozenset({SCHEMA_NOT_FOUND, SCHEMA_HASH_DIFFERS})
"""Reasons by which it isn't known what is to be registered."""


class EventSchemaKind(Kind[EventSchemaSpec, EventSchemaSight]):
    """Checks, registers and verifies schemas."""

    name = KIND
    plural = "eventschemas"
    spec_type = EventSchemaSpec

    def __init__(self, connections: Connections, kubernetes: KubernetesClient, metrics: OperatorMetrics) -> None:
        """Reach the registry by these; schemas may lie in ConfigMaps."""
        self._connections = connections
        self._kubernetes = kubernetes
        self._metrics = metrics
        self._rejections: dict[ObjectKey, tuple[str, str]] = {}
        """What a registry refused only when it was registered, by the schema's hash: not all can check before."""

    async def observe(self, resource: Resource[EventSchemaSpec]) -> EventSchemaSight:
        """Ask for the subject's versions and level, and of a new schema whether it fits all of them."""
        spec = resource.spec
        if resource.deleting and spec.deletion_policy != "Delete":
            return EventSchemaSight()
        registry = await self._connections.registry(spec.connection_ref, resource.namespace)
        versions, level = await registry.versions(spec.subject), await registry.level(spec.subject)
        if resource.deleting:
            is_recorded = not versions or resource.status.get("version") == max(versions)
            version = None if is_recorded else await self._unrecorded_version(resource, registry)
            return EventSchemaSight(version=version, versions=versions, level=level)
        text = await self._text(resource)
        sha256 = hashlib.sha256(text.schema.encode()).hexdigest()
        found = await registry.look_up(spec.subject, text) if versions else None
        if found is not None:
            return EventSchemaSight(
                id=found.id, version=found.version, versions=versions, level=level, text_sha256=sha256
            )
        incompatibilities = await registry.incompatibilities(spec.subject, text, versions)
        rejected = self._rejections.get(resource.key)
        if rejected is not None and rejected[0] == sha256 and not incompatibilities:
            incompatibilities = (rejected[1],)
        return EventSchemaSight(versions=versions, level=level, incompatibilities=incompatibilities, text_sha256=sha256)

    def plan(self, resource: Resource[EventSchemaSpec], observed: EventSchemaSight, now: datetime) -> Plan:
        """Decide."""
        return plan_schema(resource, observed, now)

    async def apply(self, resource: Resource[EventSchemaSpec], step: Step) -> None:
        """Take one step."""
        registry = await self._connections.registry(resource.spec.connection_ref, resource.namespace)
        match step:
            case SetLevel(subject=subject, level=None):
                await registry.forget_level(subject)
            case SetLevel(subject=subject, level=str(level)):
                await registry.set_level(subject, level)
            case RegisterSchema(subject=subject):
                text = await self._text(resource)
                try:
                    await registry.register(subject, text)
                except IncompatibleError as error:
                    # The next observation tells it to the plan, which puts the level back.
                    sha256 = hashlib.sha256(text.schema.encode()).hexdigest()
                    self._rejections[resource.key] = (sha256, error.message)
                    self._metrics.schema_incompatibilities.inc()
            case SoftDeleteSubject(subject=subject):
                await registry.soft_delete(subject)
            case _:
                raise AssertionError(f"{resource.key} has no step {step}")

    def claim(self, resource: Resource[EventSchemaSpec]) -> str | None:
        """Own the subject: of two resources the newer would undo what the older asks for."""
        return self._connections.claim_subject(resource.spec.connection_ref, resource.namespace, resource.spec.subject)

    def shares(self, resource: Resource[EventSchemaSpec]) -> str | None:
        """Stand beside those that say the same, as installations do of a file that all of them import."""
        return shared_wish(resource.spec)

    def references(self, resource: Resource[EventSchemaSpec]) -> Sequence[ObjectKey]:
        """Look again when the connection changes."""
        return (resource.spec.connection_ref.key(resource.namespace),)

    def forget(self, key: ObjectKey) -> None:
        """Drop what was rejected."""
        self._rejections.pop(key, None)

    async def _unrecorded_version(self, resource: Resource[EventSchemaSpec], registry: RegistryClient) -> int | None:
        """Find the version that the schema has: a crash may have come between its registration and the record."""
        try:
            found = await registry.look_up(resource.spec.subject, await self._text(resource))
        except RefusedError:
            return None  # what nobody can read was never registered
        except UnavailableError as error:
            if error.reason not in _NO_TEXT:
                raise
            return None  # a ConfigMap that went before the resource keeps nobody from going
        return found.version if found is not None else None

    async def _text(self, resource: Resource[EventSchemaSpec]) -> SchemaText:
        spec = resource.spec
        schema = spec.schema if spec.schema is not None else await self._text_of_config_map(resource)
        return SchemaText(type=spec.type, schema=schema, references=tuple(spec.references))

    async def _text_of_config_map(self, resource: Resource[EventSchemaSpec]) -> str:
        source = resource.spec.schema_from
        if source is None:
            raise RefusedError("Neither spec.schema nor spec.schemaFrom is set.", reason="InvalidSpec")
        place = f"the key {source.key} of the ConfigMap {resource.namespace}/{source.config_map}"
        body = await self._kubernetes.read(object_path("api/v1", "configmaps", resource.namespace, source.config_map))
        text = ((body or {}).get("data") or {}).get(source.key)
        if text is None:
            raise UnavailableError(
                f"There is no {place.removeprefix('the ')} yet.",
                reason=SCHEMA_NOT_FOUND,
                retry_after_seconds=CONFIG_MAP_SECONDS,
            )
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        if sha256 != source.sha256:
            raise UnavailableError(
                f"The SHA-256 of {place} is {sha256}, not spec.schemaFrom.sha256: it holds another schema. "
                "Change one of the two.",
                reason=SCHEMA_HASH_DIFFERS,
                retry_after_seconds=CONFIG_MAP_SECONDS,
            )
        return str(text)
