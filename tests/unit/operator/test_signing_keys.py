"""The life of a key: what may follow what, and what is published of a set."""

from itertools import product

import pytest

from tradeflow_operator.reconcile.signing_keys import TRANSITIONS, KeyPhase, SigningKey, SigningKeys


def a_key(kid: str, phase: KeyPhase = KeyPhase.ACTIVE, *, made_at: int = 0) -> SigningKey:
    return SigningKey(
        kid=kid,
        algorithm="RS256",
        phase=phase,
        made_at=made_at,
        since=made_at,
        public={"kty": "RSA", "n": kid, "e": "e"},
    )


@pytest.mark.parametrize(("before", "after"), list(product(KeyPhase, KeyPhase)))
def test_a_key_goes_only_where_the_table_says(before: KeyPhase, after: KeyPhase) -> None:
    key = a_key("k", before)

    if after in TRANSITIONS[before]:
        assert key._become(after, 9).phase is after
    else:
        with pytest.raises(ValueError, match=f"{before.value} can't become {after.value}"):
            key._become(after, 9)


def test_activating_a_key_retires_the_one_before_in_the_same_change() -> None:
    keys = SigningKeys(keys=(a_key("old"), a_key("new", KeyPhase.PREPARED, made_at=5)))

    changed = keys.with_active("new", 9)

    assert {key.kid: (key.phase, key.since) for key in changed.keys} == {
        "old": (KeyPhase.RETIRING, 9),
        "new": (KeyPhase.ACTIVE, 9),
    }


def test_all_keys_are_published_and_the_one_that_signs_comes_first() -> None:
    keys = SigningKeys(
        keys=(a_key("older", KeyPhase.RETIRING), a_key("next", KeyPhase.PREPARED, made_at=9), a_key("now", made_at=5))
    )

    jwks = keys.jwks()

    assert [jwk["kid"] for jwk in jwks["keys"]] == ["now", "next", "older"]
    assert jwks["keys"][0] == {"kty": "RSA", "n": "now", "e": "e", "use": "sig", "alg": "RS256", "kid": "now"}


def test_the_newest_of_two_active_keys_is_the_one_that_signs_as_in_the_gateway() -> None:
    keys = SigningKeys(keys=(a_key("a", made_at=1), a_key("b", made_at=2)))

    assert keys.active is not None
    assert keys.active.kid == "b"
