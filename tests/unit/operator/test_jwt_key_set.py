"""JWTKeySet on a cluster in memory: what it makes, mends and refuses, and its process dying at each of its calls."""

import base64
import json
from typing import Any

import pytest

from tests.support.key_set_world import NAME, KeySetWorld
from tests.support.kind_bench import NAMESPACE, ProcessDied
from tradeflow_operator.clients.key_documents import written_document
from tradeflow_operator.clients.kubernetes import resource_path
from tradeflow_operator.reconcile.signing_keys import KeyPhase, SigningKeys
from tradeflow_operator.resources import FORCE_ANNOTATION, PAUSED_ANNOTATION

SECRETS, CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/secrets", f"/api/v1/namespaces/{NAMESPACE}/configmaps"


def a_document(algorithm: str = "EdDSA", made_at: int = 1) -> str:
    content = written_document(None, SigningKeys(), new_key=KeyPhase.ACTIVE, algorithm=algorithm, made_at=made_at)
    return base64.b64encode(content).decode()


def a_secret(data: dict[str, str], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return {"metadata": {"name": "signing-keys", "annotations": annotations or {}}, "data": data}


async def rotated(world: KeySetWorld, *, hours: int = 3) -> None:
    for _ in range(hours * 30):
        await world.visit()
        world.pass_time(120)


async def test_a_new_set_has_one_key_that_signs_in_the_secret_and_its_public_half_in_the_config_map() -> None:
    world = KeySetWorld()

    await world.visit()

    keys = world.keys()
    assert keys is not None
    assert keys.active is not None
    assert world.published() == [keys.active.kid]
    assert world.bench.condition(NAME, "Ready") == ("True", "InSync")
    assert world.bench.status(NAME)["activeKid"] == keys.active.kid


async def test_keys_count_as_shown_only_where_a_gateway_showed_them() -> None:
    world = KeySetWorld()
    world.gateways, there = [], world.gateways
    await world.visit()
    assert world.bench.condition(NAME, "Acknowledged") == ("Unknown", "NoGateway")

    world.gateways = there
    world.pass_time(120)
    await world.visit()

    assert world.bench.condition(NAME, "Acknowledged") == ("True", "Shown")


async def test_a_set_at_rest_is_not_written() -> None:
    world = KeySetWorld()
    for _ in range(3):
        await world.visit()
        world.pass_time(120)
    world.bench.cluster.writes.clear()

    for _ in range(5):
        await world.visit()
        world.pass_time(60)

    assert world.bench.cluster.writes == []


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
async def test_keys_rotate_through_their_phases_and_none_is_left_behind(algorithm: str) -> None:
    world = KeySetWorld(algorithm=algorithm)

    await rotated(world)

    keys = world.keys()
    assert keys is not None
    assert [key.phase for key in keys.keys] == [KeyPhase.ACTIVE]
    assert len(world.kids_ever) == 3


async def test_a_rotation_that_was_asked_for_begins_once() -> None:
    world = KeySetWorld()
    await world.visit()
    world.bench.change(NAME, metadata={"annotations": {FORCE_ANNOTATION: "now"}})

    for _ in range(15):  # longer than it takes
        await world.visit()
        world.pass_time(120)

    assert len(world.kids_ever) == 2
    assert world.bench.status(NAME)["lastHandledForce"] == "now"


async def test_a_paused_set_keeps_its_keys_as_they_are() -> None:
    world = KeySetWorld()
    await world.visit()
    world.bench.change(NAME, metadata={"annotations": {PAUSED_ANNOTATION: "true"}})

    await rotated(world)

    assert len(world.kids_ever) == 1
    assert world.bench.condition(NAME, "Paused") == ("True", "Annotated")
    assert world.bench.condition(NAME, "Ready")[0] == "True"


async def test_a_revoked_key_is_gone_at_once_and_another_signs() -> None:
    world = KeySetWorld()
    await world.visit()
    (first,) = world.kids_ever
    world.bench.change(NAME, spec={"revoke": [first]})
    world.keys_were_taken = True

    await world.visit()

    keys = world.keys()
    assert keys is not None
    assert keys.active is not None
    assert first not in keys.kids
    assert world.published() == [keys.active.kid]


async def test_public_keys_that_somebody_changed_are_put_right() -> None:
    world = KeySetWorld()
    await world.visit()
    published = world.published()
    world.bench.cluster.request("PATCH", f"{CONFIG_MAPS}/public-keys", {"data": {"jwks.json": '{"keys": []}'}})

    await world.visit()

    assert world.published() == published


async def test_a_secret_that_somebody_deleted_is_made_anew() -> None:
    world = KeySetWorld()
    await world.visit()
    world.bench.cluster.request("DELETE", f"{SECRETS}/signing-keys", None)
    world.keys_were_taken = True

    await world.visit()

    assert len(world.kids_ever) == 2
    assert world.bench.condition(NAME, "Ready")[0] == "True"


async def test_unreadable_keys_are_never_written_over() -> None:
    world = KeySetWorld()
    await world.visit()
    broken = base64.b64encode(b"{").decode()
    world.bench.cluster.request("PATCH", f"{SECRETS}/signing-keys", {"data": {"signing-keys.json": broken}})

    await world.bench.visit(NAME)

    secret = world.bench.found("secrets", "signing-keys")
    assert secret is not None
    assert secret["data"]["signing-keys.json"] == broken
    assert world.bench.condition(NAME, "Ready") == ("False", "UnreadableKeys")
    assert world.bench.condition(NAME, "Stalled")[0] == "True"


@pytest.mark.parametrize(
    ("policy", "algorithm", "reason"),
    [
        ("Never", "EdDSA", "NotAdopted"),
        ("IfIdentical", "EdDSA", "InSync"),
        ("IfIdentical", "ES256", "NotAdopted"),
        ("Adopt", "ES256", "Rotating"),
    ],
)
async def test_keys_that_were_there_before_are_taken_over_only_as_the_policy_says(
    policy: str, algorithm: str, reason: str
) -> None:
    world = KeySetWorld(adoptionPolicy=policy)
    world.bench.cluster.put(
        SECRETS, a_secret({"signing-keys.json": a_document(algorithm, world.now_seconds), "other": "bWluZQ=="})
    )
    world.look()

    await world.visit()
    world.pass_time(120)
    await world.visit()

    secret = world.bench.found("secrets", "signing-keys")
    assert secret is not None
    assert world.bench.condition(NAME, "Ready")[1] == reason
    assert secret["data"]["other"] == "bWluZQ=="
    owned = "tradeflow.dev/owner" in secret["metadata"].get("annotations", {})
    assert owned == (reason != "NotAdopted")


async def test_a_secret_of_another_set_is_left_alone_until_that_set_is_gone() -> None:
    world = KeySetWorld()
    secret = a_secret(
        {"signing-keys.json": a_document(made_at=world.now_seconds)}, {"tradeflow.dev/owner": "JWTKeySet/older"}
    )
    world.bench.cluster.put(SECRETS, secret)
    world.bench.create("older", secretName="elsewhere")

    await world.bench.visit(NAME)
    conflict = world.bench.condition(NAME, "Ready")
    told = str(world.bench.status(NAME))
    world.bench.cluster.request("DELETE", resource_path("jwtkeysets", NAMESPACE, "older"), None)
    await world.bench.visit(NAME)

    assert conflict == ("False", "ResourceConflict")
    assert "JWTKeySet/older" in told
    taken = world.bench.found("secrets", "signing-keys")
    assert taken is not None
    assert taken["metadata"]["annotations"]["tradeflow.dev/owner"] == f"JWTKeySet/{NAME}"
    assert taken["data"] == secret["data"]


async def test_of_two_sets_for_one_secret_the_older_wins() -> None:
    world = KeySetWorld()
    await world.visit()
    newer = world.bench.create("newer", secretName="signing-keys", algorithm="EdDSA")
    newer["metadata"]["creationTimestamp"] = "2999-01-01T00:00:00Z"
    world.bench.cluster.objects[f"/apis/tradeflow.dev/v1alpha1/namespaces/{NAMESPACE}/jwtkeysets/newer"] = newer

    await world.bench.visit("newer")

    assert world.bench.condition("newer", "Ready") == ("False", "ResourceConflict")
    assert len(world.kids_ever) == 1


async def test_too_short_a_publication_is_refused_at_run_time_too() -> None:
    world = KeySetWorld(publishBefore="1m", jwksCacheTTL="5m")

    await world.bench.visit(NAME)

    assert world.bench.condition(NAME, "Ready") == ("False", "InvalidSpec")
    assert world.keys() is None


async def test_private_parts_are_in_the_secret_and_nowhere_else() -> None:
    world = KeySetWorld()
    await rotated(world, hours=1)

    everything = {
        path: json.dumps(body) for path, body in world.bench.cluster.objects.items() if "/secrets/" not in path
    }

    parts = world.private_parts()
    assert parts
    assert not [path for path, text in everything.items() for part in parts if part in text]


async def _life(world: KeySetWorld) -> int:
    """Live through one rotation; return how many calls the process made that lives now."""
    for seconds in (60, 3600, 120, 400, 120, 700, 60):
        for _ in range(8):  # a process that died is begun anew, at once
            try:
                await world.visit()
            except ProcessDied:
                world.bench.begin_process()
            else:
                break
        world.pass_time(seconds)
    return world.bench.kubernetes.calls


async def test_rule_5_a_process_that_dies_at_any_of_its_calls_leaves_a_set_that_signs_and_rotates_once() -> None:
    undisturbed = KeySetWorld()
    calls = await _life(undisturbed)
    assert len(undisturbed.kids_ever) == 2

    for number in range(1, calls + 1):
        for after in (False, True):
            world = KeySetWorld()
            world.bench.begin_process(dies_at_call=number, after=after)

            await _life(world)

            keys = world.keys()
            assert keys is not None
            where = f"died {'after' if after else 'before'} call {number} of {calls}"
            assert [key.phase for key in keys.keys] == [KeyPhase.ACTIVE], where
            assert len(world.kids_ever) == 2, where
            assert world.published() == list(keys.kids), where
            assert world.bench.condition(NAME, "Ready") == ("True", "InSync"), where
