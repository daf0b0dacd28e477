"""JWTKeySet: a Secret of signing keys for the gateway, a ConfigMap of their public halves for everybody."""

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
import structlog

from tradeflow_operator import GROUP
from tradeflow_operator.clients.key_documents import KeyDocumentError, read_document, written_document
from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path
from tradeflow_operator.clients.owned_objects import OwnedObjects
from tradeflow_operator.clients.service_addresses import Answer, ServiceAddresses
from tradeflow_operator.errors import RefusedError
from tradeflow_operator.kinds import Kind
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.jwt_key_set import (
    JWKS_ENTRY,
    KEYS_ENTRY,
    JWTKeySetSpec,
    KeySetSeen,
    SecretSeen,
    WriteKeys,
    config_map_name_of,
    plan_key_set,
    secret_name_of,
)
from tradeflow_operator.reconcile.key_rotation import GatewayKeys
from tradeflow_operator.reconcile.ownership import WriteConfigMap, owned_metadata
from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.resources import ObjectKey, Resource

logger = structlog.get_logger(__name__)

REQUEST_ANNOTATION = f"{GROUP}/rotated-for"
"""On the Secret: the last force annotation whose rotation it has begun, written together with the new key."""


class JWTKeySetKind(Kind[JWTKeySetSpec, KeySetSeen]):
    """Rotates signing keys."""

    name: ClassVar[str] = "JWTKeySet"
    plural: ClassVar[str] = "jwtkeysets"
    spec_type = JWTKeySetSpec

    def __init__(self, kubernetes: KubernetesClient, addresses: ServiceAddresses, metrics: OperatorMetrics) -> None:
        """Take what it reads and writes with."""
        self._kubernetes = kubernetes
        self._objects = OwnedObjects(kubernetes)
        self._addresses = addresses
        self._metrics = metrics

    def claim(self, resource: Resource[JWTKeySetSpec]) -> str | None:
        """Own a Secret."""
        return f"Secret {resource.namespace}/{secret_name_of(resource)}"

    async def observe(self, resource: Resource[JWTKeySetSpec]) -> KeySetSeen:
        """Read both objects, and ask the gateways."""
        secret, config_map, gateways = await asyncio.gather(
            self._secret(resource),
            self._objects.read_entry(resource.key, config_map_name_of(resource), JWKS_ENTRY),
            self._gateway_keys(resource),
        )
        return KeySetSeen(
            secret=secret,
            config_map=config_map,
            gateways=gateways,
        )

    def plan(self, resource: Resource[JWTKeySetSpec], observed: KeySetSeen, now: datetime) -> Plan:
        """Decide."""
        keys = observed.secret.keys if observed.secret else None
        if keys is not None and keys.active is not None:
            age_seconds = max(0.0, now.timestamp() - keys.active.since)
            self._metrics.key_age_seconds.labels(resource.namespace, resource.name).set(age_seconds)
        return plan_key_set(resource, observed, now)

    async def apply(self, resource: Resource[JWTKeySetSpec], step: Step) -> None:
        """Take one step."""
        if isinstance(step, WriteKeys):
            await self._write_keys(resource, step)
        elif isinstance(step, WriteConfigMap):
            await self._objects.write_entry(resource.namespace, step)

    def forget(self, key: ObjectKey) -> None:
        """Show no age of a set that is gone."""
        try:
            self._metrics.key_age_seconds.remove(key.namespace, key.name)
        except KeyError:
            return

    async def _secret(self, resource: Resource[JWTKeySetSpec]) -> SecretSeen | None:
        path = object_path("api/v1", "secrets", resource.namespace, secret_name_of(resource))
        secret = await self._kubernetes.read(path)
        if secret is None:
            return None
        orphaned = await self._objects.is_orphaned(resource.key, secret["metadata"])
        return msgspec.structs.replace(_secret_seen(secret), orphaned=orphaned)

    async def _gateway_keys(self, resource: Resource[JWTKeySetSpec]) -> tuple[GatewayKeys, ...]:
        gateway = resource.spec.gateway
        if gateway is None:
            return ()
        answers = await self._addresses.ask(resource.namespace, gateway.service, gateway.port, gateway.path)
        return tuple(GatewayKeys(address=str(answer.address), kids=_kids_of(answer)) for answer in answers)

    async def _write_keys(self, resource: Resource[JWTKeySetSpec], step: WriteKeys) -> None:
        """Write the Secret as a whole, if it still is the one that was planned for."""
        name = secret_name_of(resource)
        found = await self._objects.read_fitting("secrets", resource.namespace, name, step.version)
        data: dict[str, str] = dict((found or {}).get("data") or {})
        before = base64.b64decode(data[KEYS_ENTRY]) if KEYS_ENTRY in data else None
        try:
            document = await asyncio.to_thread(
                written_document,
                before,
                step.move.keys,
                new_key=step.move.new_key,
                algorithm=resource.spec.algorithm,
                made_at=step.made_at,
            )
        except KeyDocumentError as error:
            raise RefusedError(f"The keys can't be written: {error}.", reason="UnreadableKeys") from error
        data[KEYS_ENTRY] = base64.b64encode(document).decode()
        metadata = owned_metadata(resource, name, resource.spec.deletion_policy)
        if step.request is not None:
            metadata["annotations"][REQUEST_ANNOTATION] = step.request
        body = {**(found or {"type": "Opaque"}), "apiVersion": "v1", "kind": "Secret", "data": data}
        await self._objects.put("secrets", resource.namespace, name, found, body, metadata)


def _secret_seen(secret: Mapping[str, Any]) -> SecretSeen:
    metadata = secret["metadata"]
    annotations = metadata.get("annotations") or {}
    seen = SecretSeen(
        version=metadata["resourceVersion"],
        metadata=metadata,
        keys=None,
        handled_request=annotations.get(REQUEST_ANNOTATION),
    )
    entry = (secret.get("data") or {}).get(KEYS_ENTRY)
    if entry is None:
        return msgspec.structs.replace(seen, problem=f"it has no entry {KEYS_ENTRY}")
    try:
        return msgspec.structs.replace(seen, keys=read_document(base64.b64decode(entry)))
    except KeyDocumentError as error:
        return msgspec.structs.replace(seen, problem=str(error))


def _kids_of(answer: Answer) -> tuple[str, ...] | None:
    """Read the ids of a JWK set; what isn't one is no answer."""
    try:
        keys = json.loads(answer.text)["keys"] if answer.status == HTTPStatus.OK else []
        return tuple(str(key["kid"]) for key in keys) or None
    except (ValueError, KeyError, TypeError):
        return None
