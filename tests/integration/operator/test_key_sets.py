"""JWTKeySet on a real API server: create, change, drift, delete, adopt, conflict, pause, force, bad input, SIGKILL."""

import asyncio
import base64
import json
from collections.abc import Callable
from random import Random

import pytest

from tests.integration.operator.key_sets import (
    SECONDS_MAX,
    a_key_set,
    active_kids,
    condition,
    private_keys,
    public_kids,
    until_ready,
)
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

RunOperator = Callable[..., OperatorProcess]


async def test_a_set_is_made_mended_rotated_when_forced_and_leaves_its_keys_behind(
    shop: KubernetesNamespace, run_operator: RunOperator
) -> None:
    run_operator()
    shop.apply(a_key_set("keys"))
    await until_ready(shop, "jwtkeyset", "keys")
    (first,) = active_kids(private_keys(shop, "keys"))
    assert public_kids(shop, "keys-jwks") == [first]

    shop.kubectl("patch", "configmap", "keys-jwks", "--patch", json.dumps({"data": {"jwks.json": '{"keys": []}'}}))
    await eventually(lambda: public_kids(shop, "keys-jwks") == [first], seconds_max=SECONDS_MAX)

    shop.kubectl("annotate", "jwtkeyset", "keys", "tradeflow.dev/force=once")
    # No gateway is named: a mount's two minutes are waited for before the new key signs.
    await eventually(lambda: len(private_keys(shop, "keys")) == 2, seconds_max=SECONDS_MAX)
    assert active_kids(private_keys(shop, "keys")) == [first]
    status = shop.get("jwtkeyset", "keys")["status"]
    assert sorted(key["phase"] for key in status["keys"]) == ["Active", "Prepared"]
    assert (status["activeKid"], status["lastHandledForce"]) == (first, "once")

    shop.apply(a_key_set("keys", {"tradeflow.dev/force": "once"}, revoke=[first]))
    await eventually(lambda: first not in public_kids(shop, "keys-jwks"), seconds_max=SECONDS_MAX)
    (second,) = active_kids(private_keys(shop, "keys"))
    assert second != first

    shop.kubectl("delete", "jwtkeyset", "keys", "--timeout=30s")
    assert active_kids(private_keys(shop, "keys")) == [second]


async def test_a_paused_set_is_left_alone_and_stays_ready(shop: KubernetesNamespace, run_operator: RunOperator) -> None:
    run_operator()
    shop.apply(a_key_set("keys"))
    await until_ready(shop, "jwtkeyset", "keys")

    shop.kubectl("annotate", "jwtkeyset", "keys", "tradeflow.dev/paused=true")
    await eventually(lambda: condition(shop, "jwtkeyset", "keys", "Paused")[0] == "True", seconds_max=SECONDS_MAX)
    shop.kubectl("delete", "configmap", "keys-jwks")
    shop.apply(a_key_set("other"))
    await until_ready(shop, "jwtkeyset", "other")  # the operator works on

    assert condition(shop, "jwtkeyset", "keys")[0] == "True"
    with pytest.raises(AssertionError, match="not found"):
        shop.get("configmap", "keys-jwks")


async def test_foreign_secrets_are_adopted_as_told_and_those_of_other_sets_never(
    shop: KubernetesNamespace, run_operator: RunOperator
) -> None:
    shop.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "theirs"},
            "data": {"signing-keys.json": base64.b64encode(b"not ours").decode()},
        }
    )
    run_operator()
    shop.apply(
        a_key_set("never", secretName="theirs", adoptionPolicy="Adopt"),
        a_key_set("older", secretName="one"),
    )
    await until_ready(shop, "jwtkeyset", "older")
    shop.apply(a_key_set("newer", secretName="one"))

    assert await until_ready(shop, "jwtkeyset", "never", "False") == "UnreadableKeys"
    assert await until_ready(shop, "jwtkeyset", "newer", "False") == "ResourceConflict"
    assert base64.b64decode(shop.get("secret", "theirs")["data"]["signing-keys.json"]) == b"not ours"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"publishBefore": "1s", "jwksCacheTTL": "5s"}, "publishBefore must be at least"),
        ({"rotateEvery": "2s"}, "rotateEvery must be longer than publishBefore"),
        ({"algorithm": "HS256"}, "Unsupported value"),
        ({"publishBefore": "soon"}, "publishBefore"),
    ],
)
def test_bad_input_is_refused_by_the_api_server(shop: KubernetesNamespace, spec: dict[str, str], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        shop.apply(a_key_set("keys", **spec))


def test_the_secret_of_a_set_cannot_be_changed(shop: KubernetesNamespace) -> None:
    shop.apply(a_key_set("keys", secretName="one"))

    with pytest.raises(AssertionError, match="the Secret can't be changed"):
        shop.apply(a_key_set("keys", secretName="two"))


@pytest.mark.timeout(400)
async def test_rule_5_a_process_killed_at_any_moment_leaves_each_set_with_one_key_that_signs(
    shop: KubernetesNamespace, run_operator: RunOperator
) -> None:
    """Eight sets are begun and revoked while the operator is killed at eight moments of a fixed seed."""
    chance = Random(5)  # noqa: S311 - a seed that can be run again
    process = run_operator(LEASE_SECONDS="4", LEASE_RENEW_SECONDS="0.5")  # a killed one's lease has to run out
    names = [f"keys-{number}" for number in range(8)]
    for name in names:
        shop.apply(a_key_set(name))
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        process.kill()
        process.start()
    for name in names:
        await until_ready(shop, "jwtkeyset", name)
    first = {name: active_kids(private_keys(shop, name)) for name in names}

    shop.apply(*(a_key_set(name, revoke=first[name]) for name in names))
    for _ in range(8):
        await asyncio.sleep(chance.uniform(0.0, 2.5))
        process.kill()
        for name in names:
            assert len(active_kids(private_keys(shop, name))) == 1
        process.start()
    for name in names:
        await until_ready(shop, "jwtkeyset", name)

    made = [event for event in shop.writes() if _wrote_a_secret(event)]
    for name in names:
        keys = private_keys(shop, name)
        assert [key["kid"] for key in keys] == public_kids(shop, f"{name}-jwks")
        assert active_kids(keys) != first[name]
        # Once at its beginning, once for the revocation: nothing was done twice.
        assert sum(event["objectRef"]["name"] == name for event in made) == 2


def _wrote_a_secret(event: dict[str, object]) -> bool:
    reference, answer = event["objectRef"], event["responseStatus"]
    assert isinstance(reference, dict)
    assert isinstance(answer, dict)
    return reference["resource"] == "secrets" and event["verb"] in {"create", "update"} and answer["code"] < 300
