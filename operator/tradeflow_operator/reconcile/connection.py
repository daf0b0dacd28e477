"""KafkaConnection: where Kafka and the registry are, and who may refer to it. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from tradeflow_operator.conditions import Condition, truth
from tradeflow_operator.reconcile.plan import Plan, Verdict
from tradeflow_operator.resources import ObjectKey, Resource

KIND = "KafkaConnection"

LOOK_AGAIN_SECONDS = 15.0
"""How soon what can't be reached is tried again."""


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


def may_refer(connection: Resource[KafkaConnectionSpec], namespace: str) -> bool:
    """Tell whether resources of a namespace may use a connection."""
    allowed = connection.spec.allowed_namespaces
    return namespace == connection.namespace or "*" in allowed or namespace in allowed


def plan_connection(resource: Resource[KafkaConnectionSpec], observed: ConnectionSight, now: datetime) -> Plan:
    """Sum up what answered; nothing is ever changed."""
    del now
    problems = _problems(observed)
    status = {
        "clusterID": observed.cluster_id or resource.status.get("clusterID"),
        "brokers": observed.brokers or resource.status.get("brokers"),
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


def _problems(observed: ConnectionSight) -> Sequence[str]:
    return [problem for problem in (observed.kafka_problem, observed.registry_problem) if problem]


def _reason(observed: ConnectionSight) -> str:
    if observed.kafka_problem:
        return "KafkaUnreachable"
    return "RegistryUnreachable" if observed.registry_problem else "Reachable"
