"""JWTKeySet on a real API server: create, change, drift, delete, adopt, conflict, pause, force, bad input."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.gateway.keys import ensure_keys
from tests.operator.key_sets import KEY_SET, active_kids, apply_key_set, private_keys, public_kids
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorNamespace
from tests.support.waiting import wait_until

Start = Callable[..., Operator]


def test_a_set_is_made_mended_rotated_when_forced_and_leaves_its_keys_behind(
    operator_namespace: OperatorNamespace, start_operator: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    apply_key_set(shop, "keys")
    shop.wait_for(KEY_SET, "keys", "True")
    (first,) = active_kids(private_keys(namespace, "keys"))
    assert public_kids(namespace, "keys-jwks") == [first]

    emptied = json.dumps({"data": {"jwks.json": '{"keys": []}'}})
    namespace.kubectl("patch", "configmap", "keys-jwks", "--patch", emptied)
    wait_until(lambda: public_kids(namespace, "keys-jwks") == [first], "the public keys aren't mended")

    shop.annotate(KEY_SET, "keys", force="once")
    # No gateway is named: a mount's two minutes are waited for before the new key signs.
    wait_until(lambda: len(private_keys(namespace, "keys")) == 2, "no key is prepared")
    assert active_kids(private_keys(namespace, "keys")) == [first]
    wait_until(lambda: shop.status(KEY_SET, "keys").get("lastHandledForce") == "once", "the status doesn't tell it")
    status = shop.status(KEY_SET, "keys")
    assert sorted(key["phase"] for key in status["keys"]) == ["Active", "Prepared"]
    assert status["activeKid"] == first

    apply_key_set(shop, "keys", {"tradeflow.dev/force": "once"}, revoke=[first])
    wait_until(lambda: first not in public_kids(namespace, "keys-jwks"), "the revoked key is still published")
    (second,) = active_kids(private_keys(namespace, "keys"))
    assert second != first

    namespace.kubectl("delete", "jwtkeyset", "keys", "--timeout=30s")
    assert active_kids(private_keys(namespace, "keys")) == [second]


def test_a_paused_set_is_left_alone_and_stays_ready(
    operator_namespace: OperatorNamespace, start_operator: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    apply_key_set(shop, "keys")
    shop.wait_for(KEY_SET, "keys", "True")

    shop.annotate(KEY_SET, "keys", paused="true")
    wait_until(lambda: shop.condition(KEY_SET, "keys", "Paused")[0] == "True", "it isn't paused")
    namespace.kubectl("delete", "configmap", "keys-jwks")
    apply_key_set(shop, "other")
    shop.wait_for(KEY_SET, "other", "True")  # the operator works on

    assert shop.condition(KEY_SET, "keys")[0] == "True"
    with pytest.raises(AssertionError, match="not found"):
        namespace.get("configmap", "keys-jwks")


def test_what_are_no_keys_and_the_keys_of_a_set_that_lives_are_never_taken_over(
    operator_namespace: OperatorNamespace, start_operator: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    data = {"signing-keys.json": base64.b64encode(b"not ours").decode()}
    namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}, "data": data})
    start_operator()
    apply_key_set(shop, "never", secretName="theirs", adoptionPolicy="Adopt")
    apply_key_set(shop, "older", secretName="one")
    shop.wait_for(KEY_SET, "older", "True")
    apply_key_set(shop, "newer", secretName="one")

    shop.wait_for(KEY_SET, "never", "False", "UnreadableKeys")
    shop.wait_for(KEY_SET, "newer", "False", "ResourceConflict")
    assert namespace.get("secret", "theirs")["data"] == data

    kids = active_kids(private_keys(namespace, "one"))
    namespace.kubectl("delete", "jwtkeyset", "older", "--timeout=30s")
    shop.wait_for(KEY_SET, "newer", "True")
    assert active_kids(private_keys(namespace, "one")) == kids


def test_keys_that_a_gateway_made_for_itself_are_taken_over_and_go_on_signing(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    ensure_keys(tmp_path)
    theirs = {file.name: file.read_text() for file in tmp_path.glob("*.json")}
    namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}, "stringData": theirs})
    (kid,) = active_kids(private_keys(namespace, "theirs"))
    start_operator()

    apply_key_set(shop, "keys", algorithm="RS256", secretName="theirs", adoptionPolicy="Never")
    shop.wait_for(KEY_SET, "keys", "False", "NotAdopted")
    apply_key_set(shop, "keys", algorithm="RS256", secretName="theirs", adoptionPolicy="Adopt")
    shop.wait_for(KEY_SET, "keys", "True")

    assert active_kids(private_keys(namespace, "theirs")) == [kid]
    assert public_kids(namespace, "keys-jwks") == [kid]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"publishBefore": "1s", "jwksCacheTTL": "5s"}, "publishBefore must be at least"),
        ({"rotateEvery": "2s"}, "rotateEvery must be longer than publishBefore"),
        ({"algorithm": "HS256"}, "Unsupported value"),
        ({"gateway": {"service": "gateway"}, "algorithm": "EdDSA"}, "gateway takes RS256 alone"),
        ({"publishBefore": "soon"}, "publishBefore"),
    ],
)
def test_bad_input_is_refused_by_the_api_server(
    operator_namespace: OperatorNamespace, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        apply_key_set(operator_namespace, "keys", **spec)


@pytest.mark.parametrize(("field", "what"), [("secretName", "Secret"), ("configMapName", "ConfigMap")])
def test_where_a_set_writes_its_keys_cannot_be_changed(
    operator_namespace: OperatorNamespace, field: str, what: str
) -> None:
    apply_key_set(operator_namespace, "keys", **{field: "one"})

    with pytest.raises(AssertionError, match=f"the {what} can't be changed"):
        apply_key_set(operator_namespace, "keys", **{field: "two"})
