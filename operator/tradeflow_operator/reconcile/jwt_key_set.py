"""JWTKeySet: from the spec and what is there to the next write. Pure; it never sees a private key."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Annotated, Any, Literal

import msgspec

from tradeflow_operator.conditions import Condition, Truth
from tradeflow_operator.reconcile.durations import PATTERN, seconds_of
from tradeflow_operator.reconcile.key_rotation import (
    GatewayKeys,
    KeyHistory,
    Move,
    RotationPolicy,
    Wait,
    next_move,
    rotation_due_at,
    seen_now,
)
from tradeflow_operator.reconcile.ownership import (
    AdoptionPolicy,
    ConfigMapSeen,
    DeletionPolicy,
    WriteConfigMap,
    config_map_step,
    is_marked,
    objection_to,
    owned_metadata,
)
from tradeflow_operator.reconcile.plan import Plan, Step, Verdict, in_sync, refused, waiting
from tradeflow_operator.reconcile.signing_keys import KeyPhase, SigningKeys
from tradeflow_operator.resources import FORCE_ANNOTATION, Resource, text_of

KEYS_ENTRY = "signing-keys.json"
"""The Secret's entry: the private JWK set, as the gateway reads it from its folder of keys."""

JWKS_ENTRY = "jwks.json"
"""The ConfigMap's entry: the public JWK set."""

Span = Annotated[str, msgspec.Meta(pattern=PATTERN, min_length=2, max_length=20)]


class GatewayRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Whom to ask whether a key has arrived."""

    service: str
    """A Service of the same namespace; each address of its EndpointSlices is asked."""
    port: str | int = "http"
    path: str = "/.well-known/jwks.json"


class JWTKeySetSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person asks for."""

    algorithm: Literal["RS256", "ES256", "EdDSA"] = "RS256"
    rotate_every: Span | None = None
    publish_before: Span = "10m"
    max_token_ttl: Span = msgspec.field(default="10m", name="maxTokenTTL")
    clock_skew: Span = "30s"
    jwks_cache_ttl: Span = msgspec.field(default="5m", name="jwksCacheTTL")
    secret_name: str | None = None
    config_map_name: str | None = None
    gateway: GatewayRef | None = None
    revoke: tuple[str, ...] = ()
    adoption_policy: AdoptionPolicy = "IfIdentical"
    deletion_policy: DeletionPolicy = "Retain"

    def policy(self) -> RotationPolicy:
        """Return the rules in seconds."""
        return RotationPolicy(
            algorithm=self.algorithm,
            rotate_every_seconds=seconds_of(self.rotate_every) if self.rotate_every else None,
            publish_before_seconds=seconds_of(self.publish_before),
            max_token_ttl_seconds=seconds_of(self.max_token_ttl),
            clock_skew_seconds=seconds_of(self.clock_skew),
            revoked=frozenset(self.revoke),
        )


class SecretSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The Secret, without what is secret in it."""

    version: str
    """Its resourceVersion: a write fits only this one."""
    metadata: Mapping[str, Any]
    keys: SigningKeys | None
    """None when its entry holds something that isn't a set of private keys."""
    problem: str = ""
    orphaned: bool = False
    """Whether the resource that wrote it is gone."""
    handled_request: str | None = None
    """The last force annotation whose rotation this Secret has begun."""


class KeySetSeen(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is."""

    secret: SecretSeen | None
    config_map: ConfigMapSeen | None
    gateways: tuple[GatewayKeys, ...]


class WriteKeys(Step, frozen=True, kw_only=True):
    """Write the Secret: the keys that stay, and perhaps a new one that is made in that moment."""

    move: Move
    version: str | None
    """The Secret's version; None when there is none yet."""
    made_at: int
    request: str | None
    """The force annotation that is answered by it, or was before."""

    def sentence(self) -> str:
        """Say it."""
        return self.move.sentence


def secret_name_of(resource: Resource[JWTKeySetSpec]) -> str:
    """Name the Secret."""
    return resource.spec.secret_name or resource.name


def config_map_name_of(resource: Resource[JWTKeySetSpec]) -> str:
    """Name the ConfigMap."""
    return resource.spec.config_map_name or f"{resource.name}-jwks"


def jwks_text(keys: SigningKeys) -> str:
    """Write the public JWK set."""
    return json.dumps(keys.jwks(), indent=1)


def plan_key_set(resource: Resource[JWTKeySetSpec], seen: KeySetSeen, now: datetime) -> Plan:
    """Decide."""
    objection = _objection(resource, seen)
    if objection is not None:
        return Plan(verdict=objection)
    keys = (seen.secret.keys if seen.secret else None) or SigningKeys()
    seconds = ceil(now.timestamp())
    history = seen_now(keys, seen.gateways, _history_of(resource.status), seconds)
    policy = resource.spec.policy()
    # The public half goes first: no key signs that isn't in the ConfigMap.
    if publish := _publication(resource, seen, keys):
        return Plan(steps=(publish,), verdict=waiting("Publishing", "The public keys are being written."))
    move = next_move(policy, keys, seen.gateways, history, now, requested=_request_of(resource, seen) is not None)
    if isinstance(move, Wait):
        if seen.secret is not None and not is_marked(seen.secret.metadata, _secret_metadata(resource)):
            move = Move(keys=keys, sentence=f"Take over the Secret {secret_name_of(resource)}")
        else:
            acknowledged = _acknowledged(resource, seen, move)
            return Plan(verdict=_verdict(resource, keys, history, move, acknowledged))
    step = WriteKeys(
        move=move,
        version=seen.secret.version if seen.secret else None,
        made_at=seconds,
        request=resource.annotations.get(FORCE_ANNOTATION) if move.handles_request else _handled(seen),
    )
    return Plan(steps=(step,), verdict=waiting("Rotating", f"{move.sentence}."))


def _objection(resource: Resource[JWTKeySetSpec], seen: KeySetSeen) -> Verdict | None:
    """Say why nothing may be written; nothing of somebody else's is ever replaced."""
    spec = resource.spec
    policy = spec.policy()
    if policy.publish_before_seconds < seconds_of(spec.jwks_cache_ttl) + policy.clock_skew_seconds:
        message = "spec.publishBefore must be at least jwksCacheTTL + clockSkew: else verifiers meet unknown keys."
        return refused("InvalidSpec", message)
    return _unreadable(resource, seen) or _somebody_elses(resource, seen)


def _unreadable(resource: Resource[JWTKeySetSpec], seen: KeySetSeen) -> Verdict | None:
    if seen.secret is None or seen.secret.keys is not None:
        return None
    message = (
        f"The Secret {secret_name_of(resource)} holds no readable keys ({seen.secret.problem}). Put them right, "
        "or delete the Secret: new keys are made then, and all tokens of the old ones are void."
    )
    return refused("UnreadableKeys", message)


def _somebody_elses(resource: Resource[JWTKeySetSpec], seen: KeySetSeen) -> Verdict | None:
    """Keys of the wanted algorithm are what is wanted: whoever made them, verifiers know them already."""
    spec, secret, config_map = resource.spec, seen.secret, seen.config_map
    keys = secret.keys if secret else None
    adopt = spec.adoption_policy
    return objection_to(
        resource,
        f"Secret {secret_name_of(resource)}",
        secret.metadata if secret else None,
        adoption=adopt,
        identical=keys is not None and keys.active is not None and keys.active.algorithm == spec.algorithm,
        orphaned=secret is not None and secret.orphaned,
    ) or objection_to(
        resource,
        f"ConfigMap {config_map_name_of(resource)}",
        config_map.metadata if config_map else None,
        adoption=adopt,
        identical=config_map is not None and keys is not None and config_map.text == jwks_text(keys),
        orphaned=config_map is not None and config_map.orphaned,
    )


def _publication(resource: Resource[JWTKeySetSpec], seen: KeySetSeen, keys: SigningKeys) -> WriteConfigMap | None:
    if not keys.keys:
        return None
    metadata = owned_metadata(resource, config_map_name_of(resource), resource.spec.deletion_policy)
    return config_map_step(
        seen.config_map, metadata, entry=JWKS_ENTRY, text=jwks_text(keys), summary="Publish the public keys"
    )


def _secret_metadata(resource: Resource[JWTKeySetSpec]) -> dict[str, Any]:
    return owned_metadata(resource, secret_name_of(resource), resource.spec.deletion_policy)


def _request_of(resource: Resource[JWTKeySetSpec], seen: KeySetSeen) -> str | None:
    """Return the force annotation that asks for a rotation; the write of the new key remembers it."""
    wanted = resource.force_requested
    return wanted if wanted != _handled(seen) else None


def _handled(seen: KeySetSeen) -> str | None:
    return seen.secret.handled_request if seen.secret else None


def _acknowledged(resource: Resource[JWTKeySetSpec], seen: KeySetSeen, wait: Wait) -> Condition:
    """Say whether every gateway shows the keys; where none was asked, that isn't known."""
    gateway = resource.spec.gateway
    status: Truth = "True" if wait.acknowledged else "False"
    reason, message = ("Shown", "") if wait.acknowledged else (wait.reason, wait.message)
    if not seen.gateways:
        status, reason = "Unknown", "NoGateway"
        message = f"No process is behind {gateway.service}." if gateway else "spec.gateway names nobody to ask."
    return Condition(type="Acknowledged", status=status, reason=reason, message=message)


def _verdict(
    resource: Resource[JWTKeySetSpec],
    keys: SigningKeys,
    history: Mapping[str, KeyHistory],
    wait: Wait,
    acknowledged: Condition,
) -> Verdict:
    """Say how it stands. A set is ready as soon as one key signs: a rotation under way is no trouble."""
    due_at = rotation_due_at(resource.spec.policy(), keys)
    return in_sync(
        wait.message,
        reason=wait.reason,
        check_again_seconds=wait.seconds,
        conditions=(acknowledged,),
        status={
            "activeKid": keys.active.kid if keys.active else None,
            "nextRotation": text_of(datetime.fromtimestamp(due_at, UTC)) if due_at else None,
            "keys": [
                _told(
                    {"kid": key.kid, "algorithm": key.algorithm, "phase": _PHASES[key.phase], "since": key.since}, seen
                )
                for key in sorted(keys.keys, key=lambda key: (key.made_at, key.kid))
                for seen in (history.get(key.kid, KeyHistory()),)
            ],
        },
    )


_PHASES = {KeyPhase.PREPARED: "Prepared", KeyPhase.ACTIVE: "Active", KeyPhase.RETIRING: "Retiring"}


def _told(key: dict[str, Any], seen: KeyHistory) -> dict[str, Any]:
    instants = {"since": key["since"], "publishedAt": seen.published_at, "signsEverywhereAt": seen.signs_everywhere_at}
    return {
        **{name: value for name, value in key.items() if name != "since"},
        **{name: text_of(datetime.fromtimestamp(at, UTC)) for name, at in instants.items() if at is not None},
    }


def _history_of(status: Mapping[str, Any]) -> dict[str, KeyHistory]:
    """Read what earlier visits saw; what can't be read was never seen."""
    try:
        told = msgspec.convert(status.get("keys") or [], list[_ToldKey])
    except msgspec.ValidationError:
        return {}
    return {
        key.kid: KeyHistory(
            published_at=_seconds(key.published_at), signs_everywhere_at=_seconds(key.signs_everywhere_at)
        )
        for key in told
    }


class _ToldKey(msgspec.Struct, frozen=True, rename="camel"):
    kid: str
    published_at: datetime | None = None
    signs_everywhere_at: datetime | None = None


def _seconds(instant: datetime | None) -> int | None:
    return None if instant is None else int(instant.timestamp())
