"""KafkaConnection: where Kafka and the registry are, and who may refer to it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from tradeflow_operator.conditions import Condition, truth
from tradeflow_operator.reconcile.plan import Plan, Verdict
from tradeflow_operator.resources import ObjectKey, Resource

KIND = "KafkaConnection"

LOOK_AGAIN_SECONDS = 15.0
"""How soon what can't be reached is tried again."""

_USUAL_PORTS = {"http": 80, "https": 443}


class SecretRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names a Secret in the same namespace."""

    name: str


class KafkaConnectionSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person writes; the CRD says what each field means."""

    bootstrap_servers: list[str]
    registry_url: str | None = msgspec.field(default=None, name="registryURL")
    secret_ref: SecretRef | None = None
    tls: bool = False
    allowed_namespaces: list[str] = []


class ConnectionRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names a KafkaConnection."""

    name: str
    namespace: str | None = None

    def key(self, own_namespace: str) -> ObjectKey:
        """Say which it is, seen from a namespace."""
        return ObjectKey(KIND, self.namespace or own_namespace, self.name)


class ConnectionSight(msgspec.Struct, frozen=True, kw_only=True):
    """What answered."""

    cluster_id: str | None
    brokers: int = 0
    kafka_problem: str = ""
    registry_problem: str = ""
    registry_id: str | None = None
    """By the registry's own word; None where it has none, or didn't answer."""


def may_refer(connection: Resource[KafkaConnectionSpec], namespace: str) -> bool:
    """Tell whether resources of a namespace may use a connection."""
    allowed = connection.spec.allowed_namespaces
    return namespace == connection.namespace or "*" in allowed or namespace in allowed


def registry_address(url: str) -> str:
    """Write the URL of a registry as all who mean the same write it, and without what signs in.

    A Service of Kubernetes has three long names, which are one here.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _USUAL_PORTS.get(parts.scheme)
    except ValueError:
        return url  # nobody can be reached there
    host = (parts.hostname or "").rstrip(".").removesuffix(".cluster.local").removesuffix(".svc")
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}:{port}{parts.path.rstrip('/')}"


def plan_connection(resource: Resource[KafkaConnectionSpec], observed: ConnectionSight, now: datetime) -> Plan:
    """Sum up what answered; nothing is ever changed."""
    del now
    problems = _problems(observed)
    status = {
        "clusterID": observed.cluster_id or resource.status.get("clusterID"),
        "brokers": observed.brokers or resource.status.get("brokers"),
        "registry": _registry_seen(resource, observed),
    }
    reason = _reason(observed)
    message = " ".join(problems) or f"{observed.brokers} broker(s) of the cluster {observed.cluster_id} answer."
    verdict = Verdict(
        ready=not problems,
        synced=not problems,
        reason=reason,
        message=message,
        status=status,
        conditions=(Condition(type="Reachable", status=truth(not problems), reason=reason, message=message),),
        check_again_seconds=LOOK_AGAIN_SECONDS if problems else None,
    )
    return Plan(verdict=verdict)


def registry_of(connection: Resource[KafkaConnectionSpec]) -> str | None:
    """Name the registry of a connection that has one, alike for all connections to it; None: that isn't known yet.

    So it is where the address changed, or an operator looked last that noted no registry.
    """
    url = connection.spec.registry_url or ""
    address, seen = registry_address(url), connection.status.get("registry") or {}
    if seen.get("address") != address:
        return None if "clusterID" in connection.status else address
    # A context is a registry of its own behind the address of all.
    _, context, name = address.partition("/contexts/")
    return f"{seen['id']}{context}{name}" if "id" in seen else address


def _registry_seen(resource: Resource[KafkaConnectionSpec], observed: ConnectionSight) -> dict[str, str] | None:
    """Note which registry answers; who has told its id at an address and doesn't at this time is still the same."""
    url, before = resource.spec.registry_url, resource.status.get("registry")
    if url is None or observed.registry_problem:
        return before if url else None
    address = registry_address(url)
    known_id = before.get("id") if before and before.get("address") == address else None
    registry_id = observed.registry_id or known_id
    return {"address": address, **({"id": registry_id} if registry_id else {})}


def _problems(observed: ConnectionSight) -> Sequence[str]:
    return [problem for problem in (observed.kafka_problem, observed.registry_problem) if problem]


def _reason(observed: ConnectionSight) -> str:
    if observed.kafka_problem:
        return "KafkaUnreachable"
    return "RegistryUnreachable" if observed.registry_problem else "Reachable"
