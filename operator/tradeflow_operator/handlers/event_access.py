"""EventAccess's effects: Kafka's users and rights, and the Secret."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.kafka_users import KafkaUsers
from tradeflow_operator.clients.kubernetes import AlreadyExistsError, KubernetesClient, object_path
from tradeflow_operator.errors import UnavailableError
from tradeflow_operator.kinds import Kind
from tradeflow_operator.reconcile.event_access import (
    KIND,
    DeleteUser,
    EventAccessSight,
    EventAccessSpec,
    GrantRights,
    SecretSight,
    SetPassword,
    TakeRights,
    WriteAddress,
    WriteSecret,
    plan_access,
)
from tradeflow_operator.reconcile.kafka_address import AUTHORITY_KEY, KafkaAddress
from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.resources import ObjectKey, Resource

PASSWORD_BYTES = 32
"""Of randomness: more than SCRAM's hash can use."""


class EventAccessKind(Kind[EventAccessSpec, EventAccessSight]):
    """Makes a user for one service."""

    name = KIND
    plural = "eventaccesses"
    spec_type = EventAccessSpec

    def __init__(self, connections: Connections, kubernetes: KubernetesClient) -> None:
        """Reach both by these."""
        self._connections = connections
        self._kubernetes = kubernetes

    async def observe(self, resource: Resource[EventAccessSpec]) -> EventAccessSight:
        """Look at the Secret, the user and its rights."""
        if resource.deleting and resource.spec.deletion_policy != "Delete":
            return EventAccessSight()
        users = await self._users(resource)
        principal = resource.spec.principal
        address = None if resource.deleting else await self._address(resource)
        return EventAccessSight(
            secret=_sight_of(resource, await self._secret(resource), address),
            user_exists=await users.exists(principal),
            rights=await users.rights(principal),
            cluster_id=await users.cluster_id(),
        )

    def plan(self, resource: Resource[EventAccessSpec], observed: EventAccessSight, now: datetime) -> Plan:
        """Decide."""
        return plan_access(resource, observed, now)

    async def apply(self, resource: Resource[EventAccessSpec], step: Step) -> None:
        """Take one step."""
        users = await self._users(resource)
        match step:
            case WriteSecret():
                await self._write_secret(resource)
            case WriteAddress():
                await self._write_address(resource)
            case SetPassword(principal=principal):
                password = _password_in(await self._secret(resource) or {})
                if password is None:
                    raise UnavailableError("The Secret went away meanwhile.", reason="SecretNotFound")
                await users.set_password(principal, password)
            case GrantRights(principal=principal, rights=rights):
                await users.grant(principal, rights)
            case TakeRights(principal=principal, rights=rights):
                await users.take(principal, rights)
            case DeleteUser(principal=principal):
                await users.delete(principal)
            case _:
                raise AssertionError(f"{resource.key} has no step {step}")

    def claim(self, resource: Resource[EventAccessSpec]) -> str | None:
        """Own the user of the cluster."""
        return self._connections.claim(resource.spec.connection_ref, resource.namespace, resource.spec.principal)

    def references(self, resource: Resource[EventAccessSpec]) -> Sequence[ObjectKey]:
        """Look again when the connection changes."""
        return (resource.spec.connection_ref.key(resource.namespace),)

    async def _users(self, resource: Resource[EventAccessSpec]) -> KafkaUsers:
        return KafkaUsers(await self._connections.kafka(resource.spec.connection_ref, resource.namespace))

    async def _address(self, resource: Resource[EventAccessSpec]) -> KafkaAddress:
        return await self._connections.address(resource.spec.connection_ref, resource.namespace)

    async def _secret(self, resource: Resource[EventAccessSpec]) -> dict[str, Any] | None:
        path = object_path("api/v1", "secrets", resource.namespace, resource.spec.secret_name)
        return await self._kubernetes.read(path)

    async def _write_secret(self, resource: Resource[EventAccessSpec]) -> None:
        """Write a Secret that goes with its resource."""
        spec = resource.spec
        fields = _fields(spec, await self._address(resource), secrets.token_urlsafe(PASSWORD_BYTES))
        owner = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "name": resource.name,
            "uid": resource.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": spec.secret_name, "ownerReferences": [owner]},
            "type": "Opaque",
            "data": {name: value for name, value in fields.items() if value is not None},
        }
        there = await self._secret(resource)
        seen = _sight_of(resource, there)
        if there is None:
            try:
                await self._kubernetes.create(object_path("api/v1", "secrets", resource.namespace), body)
            except AlreadyExistsError:
                return  # the next observation tells whose it is
        elif seen is not None and seen.is_ours and not seen.complete:
            await self._write_fields(resource, there, fields)

    async def _write_address(self, resource: Resource[EventAccessSpec]) -> None:
        """Write all but the password anew."""
        there = await self._secret(resource)
        seen, password = _sight_of(resource, there), _password_in(there or {})
        if there is None or seen is None or password is None:
            raise UnavailableError("The Secret went away meanwhile.", reason="SecretNotFound")
        if seen.is_ours:
            await self._write_fields(resource, there, _fields(resource.spec, await self._address(resource), password))

    async def _write_fields(
        self, resource: Resource[EventAccessSpec], there: Mapping[str, Any], fields: Mapping[str, str | None]
    ) -> None:
        path = object_path("api/v1", "secrets", resource.namespace, resource.spec.secret_name)
        version = {"resourceVersion": there["metadata"]["resourceVersion"]}
        await self._kubernetes.patch(path, {"metadata": version, "data": dict(fields)})


def _fields(spec: EventAccessSpec, address: KafkaAddress, password: str) -> dict[str, str | None]:
    """Write the Secret's data: each part for whoever reads parts, and the URL for our services; None is no entry."""
    fields = {
        "username": spec.principal,
        "password": password,
        "sasl.mechanism": "SCRAM-SHA-512",
        "url": address.url(user=spec.principal, password=password, topic_prefix=spec.topic_prefix),
        AUTHORITY_KEY: address.authority,
    }
    return {name: value and base64.b64encode(value.encode()).decode() for name, value in fields.items()}


def _sight_of(
    resource: Resource[EventAccessSpec], secret: Mapping[str, Any] | None, address: KafkaAddress | None = None
) -> SecretSight | None:
    """Look at the Secret; without an address, not at where it leads."""
    if secret is None:
        return None
    metadata = secret["metadata"]
    owners = {owner.get("uid") for owner in metadata.get("ownerReferences") or ()}
    password = _password_in(secret)
    return SecretSight(
        version=f"{metadata['uid']}/{metadata['resourceVersion']}",
        is_ours=resource.uid in owners,
        complete=password is not None,
        leads_there=address is None or password is None or _leads_there(resource.spec, secret, address, password),
    )


def _leads_there(spec: EventAccessSpec, secret: Mapping[str, Any], address: KafkaAddress, password: str) -> bool:
    data = secret["data"]
    return all(data.get(name) == value for name, value in _fields(spec, address, password).items())


def _password_in(secret: Mapping[str, Any]) -> str | None:
    """Read the password; None where there is none that Kafka could take."""
    try:
        return base64.b64decode((secret.get("data") or {}).get("password", "")).decode() or None
    except UnicodeDecodeError:
        return None
