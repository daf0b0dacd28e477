"""What comes next for a set of keys, and that no moment of it leaves a token without its key."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

import pytest

from tradeflow_operator.reconcile.key_rotation import (
    KEYS_MAX,
    MOUNT_SECONDS,
    GatewayKeys,
    KeyHistory,
    Move,
    RotationPolicy,
    Wait,
    next_move,
    seen_now,
)
from tradeflow_operator.reconcile.signing_keys import KeyPhase, SigningKey, SigningKeys

POLICY = RotationPolicy(
    algorithm="RS256",
    rotate_every_seconds=3600,
    publish_before_seconds=330,
    max_token_ttl_seconds=600,
    clock_skew_seconds=30,
)


def a_key(kid: str, phase: KeyPhase = KeyPhase.ACTIVE, *, since: int = 0, algorithm: str = "RS256") -> SigningKey:
    return SigningKey(kid=kid, algorithm=algorithm, phase=phase, made_at=since, since=since)


def a_set(*keys: SigningKey) -> SigningKeys:
    return SigningKeys(keys=keys)


def gateway(*kids: str, address: str = "10.0.0.1:8080") -> GatewayKeys:
    return GatewayKeys(address=address, kids=kids or None)


def decide(
    keys: SigningKeys,
    now: int,
    *gateways: GatewayKeys,
    policy: RotationPolicy = POLICY,
    history: dict[str, KeyHistory] | None = None,
    requested: bool = False,
) -> Move | Wait:
    seen = seen_now(keys, gateways, history or {}, now)
    return next_move(policy, keys, gateways, seen, datetime.fromtimestamp(now, UTC), requested=requested)


def test_an_empty_set_gets_a_key_that_signs_at_once() -> None:
    move = decide(a_set(), 0)

    assert isinstance(move, Move)
    assert move.new_key is KeyPhase.ACTIVE


def test_a_key_that_has_served_its_time_gets_a_successor_that_does_not_sign_yet() -> None:
    early, due = decide(a_set(a_key("a")), 3599, gateway("a")), decide(a_set(a_key("a")), 3600, gateway("a"))

    assert isinstance(early, Wait)
    assert early.seconds == 1
    assert isinstance(due, Move)
    assert due.new_key is KeyPhase.PREPARED
    assert due.keys.active == a_key("a")


def test_a_rotation_that_was_asked_for_is_begun_once_while_it_is_under_way() -> None:
    asked = decide(a_set(a_key("a")), 5, gateway("a"), requested=True)
    again = decide(a_set(a_key("a"), a_key("b", KeyPhase.PREPARED, since=5)), 6, gateway("a", "b"), requested=True)

    assert isinstance(asked, Move)
    assert asked.handles_request
    assert isinstance(again, Wait)


def test_a_new_algorithm_rotates_to_a_key_of_it() -> None:
    move = decide(a_set(a_key("a")), 5, gateway("a"), policy=replace(POLICY, algorithm="ES256"))

    assert isinstance(move, Move)
    assert "ES256" in move.sentence


def test_a_key_that_was_prepared_for_another_algorithm_is_dropped_before_it_signs() -> None:
    keys = a_set(a_key("a"), a_key("b", KeyPhase.PREPARED, since=100, algorithm="EdDSA"))

    move = decide(keys, 101, gateway("a"))

    assert isinstance(move, Move)
    assert move.keys.kids == {"a"}
    assert move.new_key is None


def test_a_prepared_key_waits_until_every_gateway_shows_it_and_then_as_long_as_verifiers_remember() -> None:
    keys = a_set(a_key("a"), a_key("b", KeyPhase.PREPARED, since=100))
    behind = (gateway("a", "b"), gateway("a", address="10.0.0.2:8080"))
    both = (gateway("a", "b"), gateway("a", "b", address="10.0.0.2:8080"))

    blocked = decide(keys, 100_000, *behind)
    shown = {"b": KeyHistory(published_at=200)}

    assert isinstance(blocked, Wait)
    assert blocked.message == "The gateway at 10.0.0.2:8080 doesn't show b yet."
    assert isinstance(decide(keys, 529, *both, history=shown), Wait)
    move = decide(keys, 530, *both, history=shown)
    assert isinstance(move, Move)
    assert move.keys.active == replace(a_key("b", since=530), made_at=100)


def test_a_gateway_that_does_not_answer_holds_the_rotation_up() -> None:
    keys = a_set(a_key("a"), a_key("b", KeyPhase.PREPARED, since=100))

    silent = gateway(address="10.0.0.2:8080")

    # Also where all had shown the key for long enough: who doesn't answer may begin anew with an older mount.
    for history in ({}, {"b": KeyHistory(published_at=200)}):
        held = decide(keys, 100_000, gateway("a", "b"), silent, history=history)

        assert isinstance(held, Wait)
        assert held.reason == "GatewaysBehind"
        assert not held.acknowledged


def test_a_gateway_that_shows_the_key_no_more_lets_the_time_begin_anew() -> None:
    keys = a_set(a_key("a"), a_key("b", KeyPhase.PREPARED, since=100))

    seen = seen_now(keys, (gateway("a"),), {"b": KeyHistory(published_at=200)}, 500)

    assert seen["b"].published_at is None


def test_an_old_key_stays_while_a_gateway_still_signs_with_it_and_a_tokens_life_longer() -> None:
    keys = a_set(a_key("a", KeyPhase.RETIRING, since=1000), a_key("b", since=1000))
    signs = {"b": KeyHistory(published_at=500, signs_everywhere_at=1090)}

    late = decide(keys, 3000, gateway("a", "b"))
    assert isinstance(late, Wait)
    assert late.message == "The gateway at 10.0.0.1:8080 doesn't sign with b yet."
    assert isinstance(decide(keys, 1719, gateway("b", "a"), history=signs), Wait)
    move = decide(keys, 1720, gateway("b", "a"), history=signs)
    assert isinstance(move, Move)
    assert move.keys.kids == {"b"}


def test_a_gateway_that_signs_with_the_old_key_again_lets_the_time_begin_anew() -> None:
    keys = a_set(a_key("a", KeyPhase.RETIRING, since=1000), a_key("b", since=1000))
    signs = {"b": KeyHistory(published_at=500, signs_everywhere_at=1090)}
    stale = gateway("a", "b", address="10.0.0.2:8080")  # a process that began with an older mount

    assert isinstance(decide(keys, 1720, gateway("b", "a"), stale, history=signs), Wait)
    seen = seen_now(keys, (gateway("b", "a"), stale), signs, 1700)
    assert seen["b"].signs_everywhere_at is None
    again = seen_now(keys, (gateway("b", "a"),), seen, 1720)
    assert isinstance(decide(keys, 1720 + 629, gateway("b", "a"), history=again), Wait)
    assert isinstance(decide(keys, 1720 + 630, gateway("b", "a"), history=again), Move)


def test_a_key_that_retires_later_than_another_signed_everywhere_stays_a_tokens_life_from_then() -> None:
    keys = a_set(a_key("a", KeyPhase.RETIRING, since=5000), a_key("b", since=1000))
    signs = {"b": KeyHistory(published_at=500, signs_everywhere_at=1090)}
    policy = replace(POLICY, rotate_every_seconds=None)

    assert isinstance(decide(keys, 5629, gateway("b", "a"), history=signs, policy=policy), Wait)
    assert isinstance(decide(keys, 5630, gateway("b", "a"), history=signs, policy=policy), Move)


def test_a_time_that_was_only_assumed_gives_way_to_what_is_seen() -> None:
    keys = a_set(a_key("a"), a_key("b", KeyPhase.PREPARED, since=100))
    assumed = seen_now(keys, (), {}, 110)

    seen = seen_now(keys, (gateway("a", "b"),), assumed, 130)

    assert assumed["b"].published_at == 100 + MOUNT_SECONDS
    assert seen["b"].published_at == 130


def test_without_gateways_to_ask_the_time_of_a_mount_is_added() -> None:
    keys = a_set(a_key("a"), a_key("b", KeyPhase.PREPARED, since=100))
    due = 100 + MOUNT_SECONDS + 330

    assert isinstance(decide(keys, due - 1), Wait)
    assert isinstance(decide(keys, due), Move)


def test_a_revoked_key_goes_at_once_and_never_without_another_that_signs() -> None:
    policy = replace(POLICY, revoked=frozenset({"a"}))
    alone = decide(a_set(a_key("a")), 5, policy=policy)
    with_next = decide(a_set(a_key("a"), a_key("b", KeyPhase.PREPARED)), 5, policy=policy)
    retiring = decide(a_set(a_key("a", KeyPhase.RETIRING), a_key("b")), 5, policy=policy)

    assert isinstance(alone, Move)
    assert (alone.keys.kids, alone.new_key) == (frozenset(), KeyPhase.ACTIVE)
    assert isinstance(with_next, Move)
    assert with_next.keys.kids == {"b"}
    assert with_next.keys.active is not None
    assert isinstance(retiring, Move)
    assert (retiring.keys.kids, retiring.new_key) == (frozenset({"b"}), None)


def test_a_set_in_which_somebody_left_no_key_that_signs_is_mended() -> None:
    with_next = decide(a_set(a_key("a", KeyPhase.RETIRING), a_key("b", KeyPhase.PREPARED)), 5)
    without = decide(a_set(a_key("a", KeyPhase.RETIRING)), 5)

    assert isinstance(with_next, Move)
    assert with_next.keys.active is not None
    assert isinstance(without, Move)
    assert without.new_key is KeyPhase.ACTIVE
    assert without.keys.kids == {"a"}


def test_a_set_is_bounded_however_often_a_rotation_is_asked_for() -> None:
    keys = a_set(a_key("now", since=9), *(a_key(f"k{number}", KeyPhase.RETIRING) for number in range(KEYS_MAX - 1)))

    assert isinstance(decide(keys, 10, requested=True), Wait)


# --- the same rules in a world where mounts are late, caches are old and the operator forgets


@dataclass
class Mounted:
    """A gateway: it sees the Secret late."""

    keys: SigningKeys
    late: list[tuple[int, SigningKeys]] = field(default_factory=list)

    def take_over(self, now: int) -> None:
        while self.late and self.late[0][0] <= now:
            self.keys = self.late.pop(0)[1]

    def shown(self) -> tuple[str, ...]:
        return tuple(jwk["kid"] for jwk in self.keys.jwks()["keys"])


@dataclass
class Verifier:
    """Whoever reads the JWKS of some gateway, and believes it for as long as the cache's time."""

    known: frozenset[str] = frozenset()
    read_at: int = -1_000_000


@pytest.mark.parametrize("seed", range(12))
def test_no_token_is_ever_without_its_key_however_late_a_mount_and_however_old_a_cache(seed: int) -> None:
    """Safety rule 5, with the clock of a simulation: 3 gateways, 3 verifiers, some five rotations."""
    chance = Random(seed)  # noqa: S311 - a seed that can be run again
    cache_seconds, mount_seconds_max = 300, chance.choice([2, 60, 400])
    keys = a_set(a_key("k0"))
    gateways = [Mounted(keys) for _ in range(3)]
    verifiers = [Verifier() for _ in range(3)]
    history: dict[str, KeyHistory] = {}
    tokens: list[tuple[str, int]] = []
    made = 0

    for now in range(0, 25_000, 11):
        for each in gateways:
            each.take_over(now)
        if chance.random() < 0.6:  # the operator has its own troubles
            asked = tuple(
                GatewayKeys(address=str(number), kids=each.shown() if chance.random() > 0.05 else None)
                for number, each in enumerate(gateways)
            )
            history = seen_now(keys, asked, history if chance.random() > 0.02 else {}, now)
            move = next_move(POLICY, keys, asked, history, datetime.fromtimestamp(now, UTC))
            if isinstance(move, Move):
                made += 1
                new = (a_key(f"k{made}", move.new_key, since=now),) if move.new_key else ()
                keys = SigningKeys(keys=(*move.keys.keys, *new))
                for each in gateways:
                    sooner = max((at for at, _ in each.late), default=now)
                    each.late.append((max(sooner, now + chance.randint(0, mount_seconds_max)), keys))
        assert len(keys.in_phase(KeyPhase.ACTIVE)) == 1
        signer = chance.choice(gateways).keys.active
        assert signer is not None
        tokens.append((signer.kid, now))
        tokens = [token for token in tokens if now - token[1] <= POLICY.max_token_ttl_seconds]
        for verifier in verifiers:
            if now - verifier.read_at >= cache_seconds:
                verifier.known, verifier.read_at = frozenset(chance.choice(gateways).shown()), now
            kid, issued_at = chance.choice(tokens)
            assert kid in verifier.known, f"401 at {now}: {kid} of {issued_at} isn't among {sorted(verifier.known)}"

    assert made >= 5
