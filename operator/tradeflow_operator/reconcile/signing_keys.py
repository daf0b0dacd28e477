"""The life of a signing key: Prepared, Active, Retiring, removed. Values and rules; the private parts never come here.

A key is Prepared when it is made: verifiers learn it before any token is signed with it. It becomes Active once all of
them can know it, and the key before it Retiring, which is published for as long as a token of it may live.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum


class KeyPhase(Enum):
    """Where a key is in its life; the values are the gateway's words for `status`."""

    PREPARED = "prepared"
    """Published, and not signed with yet."""
    ACTIVE = "active"
    """Signed with: exactly one key is."""
    RETIRING = "retiring"
    """Published for the tokens that were signed with it."""


TRANSITIONS: Mapping[KeyPhase, frozenset[KeyPhase]] = {
    KeyPhase.PREPARED: frozenset({KeyPhase.ACTIVE}),
    KeyPhase.ACTIVE: frozenset({KeyPhase.RETIRING}),
    KeyPhase.RETIRING: frozenset(),
}
"""What may follow what. A key leaves the set from Retiring, or from anywhere when it is revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """What may be known of a key by everybody."""

    kid: str
    """The RFC 7638 thumbprint."""
    algorithm: str
    phase: KeyPhase
    made_at: int
    """Seconds since 1970."""
    since: int
    """When its phase began, in seconds since 1970."""
    public: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The members of its public JWK."""

    def activate(self, now: int) -> "SigningKey":
        """Let it sign."""
        return self._become(KeyPhase.ACTIVE, now)

    def retire(self, now: int) -> "SigningKey":
        """Let it only verify."""
        return self._become(KeyPhase.RETIRING, now)

    def _become(self, phase: KeyPhase, now: int) -> "SigningKey":
        if phase not in TRANSITIONS[self.phase]:
            raise ValueError(f"a key that is {self.phase.value} can't become {phase.value}")
        return replace(self, phase=phase, since=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """The keys of one set, at most one of them active; immutable."""

    keys: tuple[SigningKey, ...] = ()

    def in_phase(self, phase: KeyPhase) -> tuple[SigningKey, ...]:
        """List the keys of a phase, the newest first."""
        chosen = [key for key in self.keys if key.phase is phase]
        return tuple(sorted(chosen, key=lambda key: (key.made_at, key.kid), reverse=True))

    @property
    def active(self) -> SigningKey | None:
        """The key that signs: the newest active one, as the gateway chooses."""
        return next(iter(self.in_phase(KeyPhase.ACTIVE)), None)

    @property
    def prepared(self) -> SigningKey | None:
        """The key that signs next."""
        return next(iter(self.in_phase(KeyPhase.PREPARED)), None)

    @property
    def kids(self) -> frozenset[str]:
        """The ids of all keys: each of them is published."""
        return frozenset(key.kid for key in self.keys)

    def without(self, kids: Iterable[str]) -> "SigningKeys":
        """Drop keys."""
        dropped = frozenset(kids)
        return SigningKeys(keys=tuple(key for key in self.keys if key.kid not in dropped))

    def with_active(self, kid: str, now: int) -> "SigningKeys":
        """Let a prepared key sign, and retire those that did."""
        return SigningKeys(keys=tuple(self._after_activation(key, kid, now) for key in self.keys))

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public JWK set (RFC 7517), the key that signs first."""
        first = self.active
        ordered = sorted(self.keys, key=lambda key: (key is not first, -key.made_at, key.kid))
        return {"keys": [_jwk_of(key) for key in ordered]}

    @staticmethod
    def _after_activation(key: SigningKey, kid: str, now: int) -> SigningKey:
        if key.kid == kid:
            return key.activate(now)
        return key.retire(now) if key.phase is KeyPhase.ACTIVE else key


def _jwk_of(key: SigningKey) -> dict[str, str]:
    return {**dict(sorted(key.public.items())), "use": "sig", "alg": key.algorithm, "kid": key.kid}
