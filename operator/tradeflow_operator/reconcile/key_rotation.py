"""What is to be done next to the keys of a set, and when to look again. Pure: the heart of JWTKeySet.

The clocks run from what was seen, not from what was written: a mounted Secret reaches each gateway when its kubelet
likes. So `publish_before_seconds` counts from the moment in which every gateway showed the new key, and a retiring key
stays from the moment in which none signed with it any more. Where no gateway can be asked, `MOUNT_SECONDS` stands in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from tradeflow_operator.reconcile.signing_keys import KeyPhase, SigningKey, SigningKeys

MOUNT_SECONDS = 120
"""A kubelet mounts a changed Secret within its sync period of a minute and its cache's minute."""

KEYS_MAX = 8
"""A Secret holds a mebibyte, and verifiers bound the documents that they read: no new key beyond this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPolicy:
    """What a spec asks for, in seconds."""

    algorithm: str
    rotate_every_seconds: int | None
    publish_before_seconds: int
    max_token_ttl_seconds: int
    clock_skew_seconds: int
    revoked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayKeys:
    """What one address of the gateway showed."""

    address: str
    kids: tuple[str, ...] | None
    """The key that signs first; None when it didn't answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHistory:
    """What was seen of a key at earlier visits, in seconds since 1970; forgetting it only makes the rotation later."""

    published_at: int | None = None
    """Since when every gateway has shown it."""
    signs_everywhere_at: int | None = None
    """Since when every gateway has signed with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of the set, in one write: what stays, as it is afterwards, and a key that is to be made."""

    keys: SigningKeys
    sentence: str
    new_key: KeyPhase | None = None
    handles_request: bool = False
    """Whether it answers the rotation that a person asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to write now."""

    reason: str
    message: str
    seconds: float | None = None
    """When to look again; None when nothing is due at a known time."""
    acknowledged: bool = True
    """Whether every gateway shows all keys, and signs with the active one."""


def seen_now(
    keys: SigningKeys, gateways: tuple[GatewayKeys, ...], before: Mapping[str, KeyHistory], now: int
) -> dict[str, KeyHistory]:
    """Note since when each key has been shown, and signed with, by every gateway that was asked."""
    return {key.kid: _seen(key, gateways, before.get(key.kid, KeyHistory()), now) for key in keys.keys}


def next_move(
    policy: RotationPolicy,
    keys: SigningKeys,
    gateways: tuple[GatewayKeys, ...],
    history: Mapping[str, KeyHistory],
    now: datetime,
    *,
    requested: bool = False,
) -> Move | Wait:
    """Decide. The order matters: first what is unsafe, then what ends, then what begins."""
    seconds = ceil(now.timestamp())
    return (
        _revocation(policy, keys, seconds)
        or _lost_active(policy, keys, seconds)
        or _other_mind(policy, keys)
        or _removal(policy, keys, history, seconds)
        or _activation(policy, keys, gateways, history, seconds)
        or _preparation(policy, keys, seconds, requested=requested)
        or _rest(policy, keys, gateways, history, seconds)
    )


def _revocation(policy: RotationPolicy, keys: SigningKeys, now: int) -> Move | None:
    """Drop revoked keys at once, and never without another key that signs."""
    revoked = keys.kids & policy.revoked
    if not revoked:
        return None
    left = keys.without(revoked)
    sentence = f"Revoke {_named(revoked)}"
    if left.active is not None:
        return Move(keys=left, sentence=sentence)
    if left.prepared is not None:
        return Move(
            keys=left.with_active(left.prepared.kid, now), sentence=f"{sentence} and sign with {left.prepared.kid}"
        )
    return Move(keys=left, new_key=KeyPhase.ACTIVE, sentence=f"{sentence} and sign with a new {policy.algorithm} key")


def _lost_active(policy: RotationPolicy, keys: SigningKeys, now: int) -> Move | None:
    """Begin, or mend a set in which somebody left no key that signs."""
    if keys.active is not None:
        return None
    if keys.prepared is not None:
        kid = keys.prepared.kid
        return Move(keys=keys.with_active(kid, now), sentence=f"Sign with {kid}, since no key is active")
    return Move(keys=keys, new_key=KeyPhase.ACTIVE, sentence=f"Make an {policy.algorithm} key and sign with it")


def _other_mind(policy: RotationPolicy, keys: SigningKeys) -> Move | None:
    """Drop what was prepared for another algorithm: nothing was signed with it, and not everybody may read such."""
    others = [key.kid for key in keys.in_phase(KeyPhase.PREPARED) if key.algorithm != policy.algorithm]
    if not others:
        return None
    return Move(keys=keys.without(others), sentence=f"Remove {_named(others)}: it isn't for {policy.algorithm}")


def _removal(policy: RotationPolicy, keys: SigningKeys, history: Mapping[str, KeyHistory], now: int) -> Move | None:
    over = [
        key.kid
        for key in keys.in_phase(KeyPhase.RETIRING)
        if (until := _retires_until(policy, key, keys, history)) is not None and until <= now
    ]
    if not over or keys.active is None:
        return None
    return Move(keys=keys.without(over), sentence=f"Remove {_named(over)}: no token of it is valid any more")


def _activation(
    policy: RotationPolicy,
    keys: SigningKeys,
    gateways: tuple[GatewayKeys, ...],
    history: Mapping[str, KeyHistory],
    now: int,
) -> Move | None:
    prepared = keys.prepared
    if prepared is None or not _shown_by_all(prepared, gateways):
        return None
    activates_at = _activates_at(policy, prepared, history)
    if activates_at is None or activates_at > now:
        return None
    return Move(
        keys=keys.with_active(prepared.kid, now),
        sentence=f"Sign with {prepared.kid}, which all verifiers know by now",
    )


def _preparation(policy: RotationPolicy, keys: SigningKeys, now: int, *, requested: bool) -> Move | None:
    if keys.prepared is not None or len(keys.keys) >= KEYS_MAX:
        return None
    why = _why_rotate(policy, keys, now, requested=requested)
    if why is None:
        return None
    return Move(
        keys=keys,
        new_key=KeyPhase.PREPARED,
        sentence=f"Prepare a new {policy.algorithm} key: {why}",
        handles_request=requested,
    )


def _why_rotate(policy: RotationPolicy, keys: SigningKeys, now: int, *, requested: bool) -> str | None:
    active = keys.active
    if active is None:
        return None
    if requested:
        return "a rotation was asked for"
    if active.algorithm != policy.algorithm:
        return f"the active key is for {active.algorithm}"
    rotates_at = rotation_due_at(policy, keys)
    return "the active key has served its time" if rotates_at is not None and rotates_at <= now else None


def rotation_due_at(policy: RotationPolicy, keys: SigningKeys) -> int | None:
    """Tell when the next key is to be prepared, in seconds since 1970; None when only a person asks for it."""
    if keys.active is None or policy.rotate_every_seconds is None:
        return None
    return keys.active.since + policy.rotate_every_seconds


def _rest(
    policy: RotationPolicy,
    keys: SigningKeys,
    gateways: tuple[GatewayKeys, ...],
    history: Mapping[str, KeyHistory],
    now: int,
) -> Wait:
    """Say what is waited for, and for how long."""
    if behind := _behind(keys, gateways):
        return Wait(reason="GatewaysBehind", message=behind, seconds=2.0, acknowledged=False)
    due = [
        _activates_at(policy, keys.prepared, history) if keys.prepared else None,
        rotation_due_at(policy, keys) if keys.prepared is None and len(keys.keys) < KEYS_MAX else None,
        *(_retires_until(policy, key, keys, history) for key in keys.in_phase(KeyPhase.RETIRING)),
    ]
    known = [moment for moment in due if moment is not None]
    seconds = max(0.5, min(known) - now) if known else None
    if keys.prepared is not None:
        message = f"{keys.prepared.kid} is published and signs next."
        return Wait(reason="Rotating", message=message, seconds=seconds)
    if keys.in_phase(KeyPhase.RETIRING):
        return Wait(reason="Retiring", message="Older keys are published while tokens of them live.", seconds=seconds)
    return Wait(reason="InSync", message="One key signs, and all verifiers can know it.", seconds=seconds)


def _behind(keys: SigningKeys, gateways: tuple[GatewayKeys, ...]) -> str | None:
    for gateway in gateways:
        if gateway.kids is None:
            return f"The gateway at {gateway.address} doesn't show its keys."
        if missing := keys.kids - set(gateway.kids):
            return f"The gateway at {gateway.address} doesn't show {_named(missing)} yet."
        if keys.active is not None and gateway.kids[0] != keys.active.kid:
            return f"The gateway at {gateway.address} doesn't sign with {keys.active.kid} yet."
    return None


def _activates_at(policy: RotationPolicy, key: SigningKey, history: Mapping[str, KeyHistory]) -> int | None:
    published_at = history.get(key.kid, KeyHistory()).published_at
    return None if published_at is None else published_at + policy.publish_before_seconds


def _retires_until(
    policy: RotationPolicy, key: SigningKey, keys: SigningKeys, history: Mapping[str, KeyHistory]
) -> int | None:
    """Tell when the last token of a key ends: counted from when every gateway signed with a newer one."""
    active = keys.active
    signs_at = history.get(active.kid, KeyHistory()).signs_everywhere_at if active else None
    if signs_at is None:
        return None
    return max(signs_at, key.since) + policy.max_token_ttl_seconds + policy.clock_skew_seconds


def _seen(key: SigningKey, gateways: tuple[GatewayKeys, ...], before: KeyHistory, now: int) -> KeyHistory:
    if not gateways:
        # Nobody can be asked: whoever mounts the Secret has it after this long.
        mounted_at = key.since + MOUNT_SECONDS
        return KeyHistory(
            published_at=before.published_at or mounted_at,
            signs_everywhere_at=(before.signs_everywhere_at or mounted_at) if key.phase is KeyPhase.ACTIVE else None,
        )
    if any(gateway.kids is not None and key.kid not in gateway.kids for gateway in gateways):
        return KeyHistory()
    if any(gateway.kids is None for gateway in gateways):
        return before  # who doesn't answer doesn't contradict what was seen
    signs = key.phase is KeyPhase.ACTIVE and all(gateway.kids and gateway.kids[0] == key.kid for gateway in gateways)
    return KeyHistory(
        # What was only assumed, while nobody could be asked, may lie ahead.
        published_at=min(before.published_at or now, now),
        # Who signs with an older key again, such as a process that began with a late mount, makes tokens of that key.
        signs_everywhere_at=min(before.signs_everywhere_at or now, now) if signs else None,
    )


def _shown_by_all(key: SigningKey, gateways: tuple[GatewayKeys, ...]) -> bool:
    return all(gateway.kids is not None and key.kid in gateway.kids for gateway in gateways)


def _named(kids: Iterable[str]) -> str:
    return ", ".join(sorted(kids))
