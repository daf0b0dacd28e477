"""Resources of our kinds that are a part of a platform: made again where they went, and whose they are."""

from typing import Any

import pytest

from tests.support.kind_bench import NAMESPACE
from tests.support.platform_world import COMPONENTS, TOPIC, PlatformWorld, at_rest
from tradeflow_operator.resources import PAUSED_ANNOTATION


async def test_a_resource_of_ours_that_somebody_deleted_is_made_again_once() -> None:
    world = await at_rest()
    del world.bench.cluster.objects[TOPIC]

    said = [await world.visit() for _ in range(3)]

    assert world.partitions() == 6
    assert said == [("True", "Deployed")] * 3
    assert [step for step, _ in world.upgrades] == ["gateway"]


async def test_a_resource_of_ours_that_is_deleted_again_and_again_is_told_and_made_again_after_a_while() -> None:
    world = PlatformWorld()
    await world.installed()
    del world.bench.cluster.objects[TOPIC]

    await world.visit()

    assert world.partitions() is None
    assert world.bench.condition("shop", "Drifted") == ("True", "Differs")
    assert "EventTopic shop-order-events" in str(world.bench.status("shop")["conditions"])
    world.let_time_pass()
    await world.visit()
    assert world.partitions() == 6
    assert world.bench.condition("shop", "Drifted") == ("False", "Same")


async def test_what_somebody_changed_of_a_resource_of_ours_stays_until_the_next_change() -> None:
    world = await at_rest()
    world.bench.cluster.request("PATCH", TOPIC, {"metadata": {"managedFields": []}, "spec": {"partitions": 12}})

    await world.visit()

    assert (world.partitions(), world.upgrades) == (12, [])


@pytest.mark.parametrize("labels", [{}, {"app.kubernetes.io/instance": "shop"}], ids=["unlabelled", "labelled"])
async def test_what_a_person_made_in_the_place_of_a_resource_of_ours_stays_his(labels: dict[str, str]) -> None:
    world = await at_rest()
    world.make_topic_by_hand(labels=labels)

    said = [await world.visit() for _ in range(2)]

    assert said == [("True", "Deployed")] * 2
    assert (world.partitions(), world.upgrades) == (1, [])


async def test_a_resource_that_a_person_made_beside_ours_and_deleted_is_not_missed() -> None:
    world = PlatformWorld()
    world.make_topic_by_hand("shop-extra", labels={"app.kubernetes.io/instance": "shop"})
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
    del world.bench.cluster.objects[TOPIC.replace("order-events", "extra")]

    await world.visit()

    assert (world.partitions("shop-extra"), world.upgrades) == (None, [])


async def test_a_resource_that_is_asked_for_no_more_is_not_made_again() -> None:
    world = await at_rest()
    del world.bench.cluster.objects[TOPIC]
    world.bench.change("shop", spec={"values": {"topics": {"create": False}}})
    for name in COMPONENTS:
        await world.visit()
        world.roll_out(name)
    world.let_time_pass()
    world.upgrades.clear()

    assert await world.visit() == ("True", "Deployed")
    assert (world.partitions(), world.upgrades) == (None, [])


async def test_a_resource_of_ours_that_goes_slowly_is_waited_for() -> None:
    world = await at_rest()
    world.bench.cluster.objects[TOPIC]["metadata"] |= {"finalizers": ["tradeflow.dev/external"]}
    world.bench.cluster.request("DELETE", TOPIC, None)

    await world.visit()

    assert world.upgrades == []


async def test_a_paused_platform_makes_nothing_again_until_it_goes_on() -> None:
    world = await at_rest()
    world.bench.change("shop", metadata={"annotations": {PAUSED_ANNOTATION: "true"}})
    del world.bench.cluster.objects[TOPIC]
    await world.visit()
    paused = world.partitions()

    world.bench.change("shop", metadata={"annotations": {PAUSED_ANNOTATION: None}})
    await world.visit()

    assert (paused, world.partitions()) == (None, 6)


@pytest.mark.parametrize("spec", [{"suspend": True}, {"management": "Observe"}])
async def test_who_leaves_a_platform_as_it_is_makes_nothing_again(spec: dict[str, Any]) -> None:
    world = await at_rest()
    world.bench.change("shop", spec=spec)
    del world.bench.cluster.objects[TOPIC]

    await world.visit()

    assert (world.partitions(), world.upgrades) == (None, [])


@pytest.mark.parametrize("namespace_ends", [False, True])
async def test_a_platform_that_is_being_deleted_makes_nothing_again(*, namespace_ends: bool) -> None:
    world = await at_rest()
    del world.bench.cluster.objects[TOPIC]
    if namespace_ends:
        namespace = world.bench.cluster.objects[f"/api/v1/namespaces/{NAMESPACE}"]
        namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        await world.look()
    world.delete()

    await world.look()

    assert (world.partitions(), world.upgrades) == (None, [])
