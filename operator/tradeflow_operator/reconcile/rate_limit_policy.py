"""RateLimitPolicy: the document that the gateway reads, and whether every gateway has taken it over. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from tradeflow_operator.conditions import Condition
from tradeflow_operator.reconcile.ownership import (
    AdoptionPolicy,
    ConfigMapSeen,
    DeletionPolicy,
    config_map_step,
    objection_to,
    owned_metadata,
)
from tradeflow_operator.reconcile.plan import Plan, Verdict, in_sync, refused, waiting
from tradeflow_operator.resources import Resource

ENTRY = "rate-limits.json"
"""The ConfigMap's entry; TRADEFLOW_GATEWAY_RATE_LIMITS_FILE names it where it is mounted."""

LOOK_AGAIN_SECONDS = 3.0
"""While gateways are behind: a kubelet needs up to a minute to mount a change, a gateway two seconds to read it."""


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One limit."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    per: Literal["user", "ip"]
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    window_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)]
    route_class: Literal["auth", "read", "write", "socket", "any"] = "any"
    paths: tuple[Annotated[str, msgspec.Meta(pattern=r"^/[!-~]*$")], ...] = ()
    roles: tuple[str, ...] = ()
    """The plans: only callers with one of these roles."""
    dry_run: bool = False


class ServiceRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Service of the same namespace."""

    service: str
    port: str | int = "http"


class RateLimitPolicySpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person asks for."""

    limits: Annotated[tuple[RateLimit, ...], msgspec.Meta(max_length=64)]
    gateway: ServiceRef | None = None
    failure_mode: Literal["open", "closed"] | None = None
    dry_run: bool = False
    """For all limits: counted and told in metrics, and nobody is refused."""
    config_map_name: str | None = None
    adoption_policy: AdoptionPolicy = "IfIdentical"
    deletion_policy: DeletionPolicy = "Retain"


class GatewayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one gateway says of its file."""

    address: str
    ok: bool | None
    """Whether the file can be used; None when the gateway doesn't answer, or doesn't say it."""
    digest: str | None
    """Of the file whose limits hold."""


class LimitsSeen(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is."""

    config_map: ConfigMapSeen | None
    gateways: tuple[GatewayLimits, ...]


def config_map_name_of(resource: Resource[RateLimitPolicySpec]) -> str:
    """Name the ConfigMap."""
    return resource.spec.config_map_name or resource.name


def document_of(spec: RateLimitPolicySpec) -> str:
    """Write what the gateway reads."""
    document: dict[str, Any] = {"limits": [_written(limit, dry_run=spec.dry_run) for limit in spec.limits]}
    if spec.failure_mode is not None:
        document["failure_mode"] = spec.failure_mode
    return json.dumps(document, indent=1)


def digest_of(text: str) -> str:
    """Name a document's content, as the gateway does."""
    return hashlib.sha256(text.encode()).hexdigest()


def plan_limits(resource: Resource[RateLimitPolicySpec], seen: LimitsSeen, now: datetime) -> Plan:
    """Decide."""
    del now
    spec = resource.spec
    text, name = document_of(spec), config_map_name_of(resource)
    found = seen.config_map
    objection = _mistake(spec.limits) or objection_to(
        resource,
        f"ConfigMap {name}",
        found.metadata if found else None,
        adoption=spec.adoption_policy,
        identical=found is not None and found.text == text,
        orphaned=found is not None and found.orphaned,
    )
    if objection is not None:
        return Plan(verdict=objection)
    metadata = owned_metadata(resource, name, spec.deletion_policy)
    step = config_map_step(
        found, metadata, entry=ENTRY, text=text, summary=f"Write the limits into the ConfigMap {name}"
    )
    if step is not None:
        return Plan(steps=(step,), verdict=waiting("Writing", "The limits are being written."))
    return Plan(verdict=_verdict(spec, digest_of(text), seen.gateways))


def _mistake(limits: Sequence[RateLimit]) -> Verdict | None:
    """Find what the definition's rules can't see cheaply; the gateway would refuse the whole file for it."""
    names = [limit.name for limit in limits]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return refused("InvalidSpec", f"Two limits are called {twice[0]}: their counters would meet.")
    if of_address := next((limit.name for limit in limits if limit.roles and limit.per == "ip"), None):
        return refused(
            "InvalidSpec", f"The limit {of_address} asks for roles, which an address has none of; set per: user."
        )
    return None


def _verdict(spec: RateLimitPolicySpec, digest: str, gateways: tuple[GatewayLimits, ...]) -> Verdict:
    status: Mapping[str, Any] = {"digest": digest, "limits": len(spec.limits)}
    if spec.gateway is None:
        told = _enforced("Unknown", "NoGateway", "spec.gateway names nobody to ask.")
        return in_sync("The limits are in the ConfigMap.", conditions=(told,), status=status)
    if not gateways:
        message = f"No process is behind the Service {spec.gateway.service}."
        told = _enforced("False", "NoGateway", message)
        return waiting(
            "NoGateway", message, conditions=(told,), status=status, check_again_seconds=LOOK_AGAIN_SECONDS * 5
        )
    if bad := next((gateway for gateway in gateways if gateway.ok is False), None):
        message = f"The gateway at {bad.address} can't use its limits and keeps older ones; its /readyz says why."
        told = _enforced("False", "GatewayRefused", message)
        return waiting(
            "GatewayRefused", message, conditions=(told,), status=status, check_again_seconds=LOOK_AGAIN_SECONDS
        )
    if behind := next((gateway for gateway in gateways if gateway.digest != digest), None):
        message = f"The gateway at {behind.address} doesn't hold these limits yet."
        told = _enforced("False", "GatewaysBehind", message)
        return waiting(
            "GatewaysBehind", message, conditions=(told,), status=status, check_again_seconds=LOOK_AGAIN_SECONDS
        )
    dry = " (dry run: nobody is refused)" if spec.dry_run else ""
    message = f"Every gateway holds these limits{dry}."
    return in_sync(message, reason="Enforced", conditions=(_enforced("True", "Enforced", message),), status=status)


def _enforced(truth: Literal["True", "False", "Unknown"], reason: str, message: str) -> Condition:
    return Condition(type="Enforced", status=truth, reason=reason, message=message)


def _written(limit: RateLimit, *, dry_run: bool) -> dict[str, Any]:
    """Write one limit by the gateway's names."""
    return {
        "name": limit.name,
        "route_class": limit.route_class,
        "paths": list(limit.paths),
        "per": limit.per,
        "roles": list(limit.roles),
        "limit": limit.limit,
        "window_seconds": limit.window_seconds,
        "dry_run": dry_run or limit.dry_run,
    }
