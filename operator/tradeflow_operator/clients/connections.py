"""From a reference to a cluster: the KafkaConnection, who may use it, its Secret, and the clients that are kept."""

import asyncio
import base64
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import KafkaException

from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.clients.kafka import KafkaAdmin
from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path
from tradeflow_operator.clients.registry import RegistryClient
from tradeflow_operator.conditions import REGISTRY_UNIDENTIFIED
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.log import without_secrets
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.connection import KIND, ConnectionRef, KafkaConnectionSpec, may_refer, registry_of
from tradeflow_operator.reconcile.kafka_address import KafkaAddress
from tradeflow_operator.resources import ObjectKey, Resource, parse_resource

SECRET_SECONDS = 30.0
"""How long a Secret that was read is believed: so long a changed password takes to arrive."""

SECRET_FIELDS = frozenset(
    {"username", "password", "ca.crt", "tls.crt", "tls.key", "registry-username", "registry-password"}
)
"""What is read of a Secret; others, such as the key stores that cert-manager adds, may be no text."""

WAIT_SECONDS = 60.0
"""How soon a reference to nothing is looked at again; the connection's arrival wakes it sooner."""


class KnownBodies(Protocol):
    """What the watches told."""

    def get(self, key: ObjectKey) -> Mapping[str, Any] | None:
        """Return what was last told of a resource."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """What speaks to one connection's servers."""

    kafka: KafkaAdmin
    registry: RegistryClient | None
    made_from: tuple[Any, ...]


class Connections:
    """The clients of all connections, made when they are first needed."""

    def __init__(
        self,
        kubernetes: KubernetesClient,
        known: KnownBodies,
        fence: Fence,
        metrics: OperatorMetrics,
        *,
        batch_size: int,
    ) -> None:
        """Prepare; `batch_size` is how many topics a Kafka is asked about at a time."""
        self._batch_size = batch_size
        self._kubernetes = kubernetes
        self._known = known
        self._fence = fence
        self._metrics = metrics
        self._clients: dict[ObjectKey, Clients] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._secrets: dict[tuple[str, str], tuple[float, dict[str, str]]] = {}

    async def kafka(self, ref: ConnectionRef, namespace: str) -> KafkaAdmin:
        """Find the Kafka that a resource of a namespace refers to.

        Raises:
            UnavailableError: `ConnectionNotFound`: there is none of that name yet.
            RefusedError: `ConnectionForbidden`, or its Secret isn't there (`SecretNotFound`).
        """
        return (await self.clients(self.find(ref, namespace))).kafka

    async def address(self, ref: ConnectionRef, namespace: str) -> KafkaAddress:
        """Say where the Kafka is that a resource of a namespace refers to; raises as `kafka`."""
        connection = self.find(ref, namespace)
        secret = await self._secret_of(connection)
        return KafkaAddress(
            bootstrap_servers=connection.spec.bootstrap_servers,
            tls=speaks_tls(connection.spec, secret),
            authority=secret.get("ca.crt") or None,
        )

    async def registry(self, ref: ConnectionRef, namespace: str) -> RegistryClient:
        """Find the schema registry that a resource of a namespace refers to.

        Raises:
            UnavailableError: As `kafka`, or nobody knows yet whose subjects are there (`RegistryUnidentified`).
            RefusedError: As `kafka`, or the connection has none (`RegistryNotConfigured`).
        """
        connection = self.find(ref, namespace)
        registry = (await self.clients(connection)).registry
        if registry is None:
            message = f"{connection.key} has no spec.registryURL; set it, or name another connection."
            raise RefusedError(message, reason="RegistryNotConfigured")
        if registry_of(connection) is None:
            raise UnavailableError(
                f"{connection.key} hasn't reached the registry at its spec.registryURL yet; its status says why.",
                reason=REGISTRY_UNIDENTIFIED,
                retry_after_seconds=WAIT_SECONDS,
            )
        return registry

    def find(self, ref: ConnectionRef, namespace: str) -> Resource[KafkaConnectionSpec]:
        """Find the connection itself, and check that it may be used."""
        key = ref.key(namespace)
        body = self._known.get(key)
        if body is None:
            raise UnavailableError(
                f"There is no {key} yet.", reason="ConnectionNotFound", retry_after_seconds=WAIT_SECONDS
            )
        connection = parse_resource(KIND, body, KafkaConnectionSpec)
        if not may_refer(connection, namespace):
            message = f"{key} doesn't name the namespace {namespace} in spec.allowedNamespaces; let its owner add it."
            raise RefusedError(message, reason="ConnectionForbidden")
        return connection

    def claim(self, ref: ConnectionRef, namespace: str, name: str) -> str | None:
        """Claim what has a name in a cluster, which is the same for all connections to it once one has reached it.

        None where the namespace may not use the connection: who is refused keeps nobody from what it names.
        """
        try:
            self.find(ref, namespace)
        except RefusedError:
            return None
        except UnavailableError:
            pass  # it isn't there yet; its name stands in for the cluster's
        key = ref.key(namespace)
        status = (self._known.get(key) or {}).get("status") or {}
        return f"{status.get('clusterID') or key}/{name}"

    def claim_subject(self, ref: ConnectionRef, namespace: str, subject: str) -> str | None:
        """Claim a subject of a registry, which is the same for all connections to it, whatever their clusters.

        None as in `claim`, and where the connection has no registry. While it isn't known which one it is, the claim is
        the cluster's, as operators before this one had it: who was turned away stays so.
        """
        try:
            connection = self.find(ref, namespace)
        except (RefusedError, UnavailableError):
            return self.claim(ref, namespace, subject)
        if connection.spec.registry_url is None:
            return None
        registry = registry_of(connection)
        return self.claim(ref, namespace, subject) if registry is None else f"registry {registry}/{subject}"

    async def clients(self, connection: Resource[KafkaConnectionSpec]) -> Clients:
        """Make, or find, the clients of a connection."""
        spec = connection.spec
        secret = await self._secret_of(connection)
        made_from = (connection.uid, connection.generation, tuple(sorted(secret.items())))
        clients = self._clients.get(connection.key)
        if clients is not None and clients.made_from == made_from:
            return clients
        self.forget(connection.key)
        try:
            kafka = KafkaAdmin(kafka_config(spec, secret), self._fence, self._metrics, batch_size=self._batch_size)
            url = spec.registry_url
            registry = RegistryClient(url, secret, self._fence, self._metrics) if url else None
        except (KafkaException, ssl.SSLError, ValueError) as error:
            raise UnavailableError(
                f"The connection's Secret can't be used: {without_secrets(str(error))}",
                reason="SecretUnusable",
                retry_after_seconds=SECRET_SECONDS,
            ) from error
        self._clients[connection.key] = Clients(kafka=kafka, registry=registry, made_from=made_from)
        return self._clients[connection.key]

    def forget(self, key: ObjectKey) -> None:
        """Let the clients of a connection go, with their threads and sockets."""
        clients = self._clients.pop(key, None)
        if clients is not None and clients.registry is not None:
            closing = asyncio.create_task(clients.registry.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def forget_secret(self, namespace: str, name: str) -> None:
        """Read a Secret anew at the next need."""
        self._secrets.pop((namespace, name), None)

    async def close(self) -> None:
        """Close all clients."""
        for key in list(self._clients):
            self.forget(key)
        await asyncio.gather(*self._closing)

    async def _secret_of(self, connection: Resource[KafkaConnectionSpec]) -> dict[str, str]:
        ref = connection.spec.secret_ref
        return await self._secret(connection.namespace, ref.name) if ref else {}

    async def _secret(self, namespace: str, name: str) -> dict[str, str]:
        kept = self._secrets.get((namespace, name))
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        body = await self._kubernetes.read(object_path("api/v1", "secrets", namespace, name))
        if body is None:
            raise UnavailableError(
                f"There is no Secret {namespace}/{name} yet.",
                reason="SecretNotFound",
                retry_after_seconds=SECRET_SECONDS,
            )
        data = {field: _text_of(value) for field, value in (body.get("data") or {}).items() if field in SECRET_FIELDS}
        self._secrets[namespace, name] = (time.monotonic() + SECRET_SECONDS, data)
        return data


def _text_of(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


def speaks_tls(spec: KafkaConnectionSpec, secret: dict[str, str]) -> bool:
    """Tell whether brokers are spoken to by TLS."""
    return spec.tls or "ca.crt" in secret


def kafka_config(spec: KafkaConnectionSpec, secret: dict[str, str]) -> dict[str, Any]:
    """Write librdkafka's settings."""
    signed_in = "username" in secret
    layers = ["SASL"] * signed_in + ["SSL" if speaks_tls(spec, secret) else "PLAINTEXT"]
    config: dict[str, Any] = {
        "bootstrap.servers": ",".join(spec.bootstrap_servers),
        "security.protocol": "_".join(layers),
    }
    if signed_in:
        config |= {
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": secret["username"],
            "sasl.password": secret.get("password", ""),
        }
    for field, setting in (
        ("ca.crt", "ssl.ca.pem"),
        ("tls.crt", "ssl.certificate.pem"),
        ("tls.key", "ssl.key.pem"),
    ):
        if field in secret:
            config[setting] = secret[field]
    return config
