"""What people change and delete of what helm made, and when it is set back."""

from tests.support.kind_bench import NAMESPACE
from tests.support.platform_world import SERVICES, PlatformWorld, at_rest


async def test_a_deployment_that_somebody_deleted_is_made_again() -> None:
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    del world.bench.cluster.objects[f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/shop-orders"]

    await world.visit()

    assert world.tags() == {"ledger": "1", "orders": "1", "gateway": "1"}


async def test_what_somebody_changed_by_hand_is_set_back_once() -> None:
    world = await at_rest()
    world.change_service_by_hand("orders")

    said = [await world.visit() for _ in range(3)]

    assert world.port_of("orders") == 8080
    assert said == [("True", "Deployed")] * 3
    assert [step for step, _ in world.upgrades] == ["gateway"]


async def test_an_object_that_somebody_deleted_is_made_again() -> None:
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    del world.bench.cluster.objects[f"{SERVICES}/shop-ledger"]

    await world.visit()

    assert world.port_of("ledger") == 8080


async def test_what_somebody_changes_again_and_again_is_told_and_set_back_after_a_while() -> None:
    world = PlatformWorld()
    await world.installed()
    world.upgrades.clear()
    world.change_service_by_hand("orders")

    for _ in range(3):
        await world.visit()

    assert world.upgrades == []
    assert world.bench.condition("shop", "Ready") == ("True", "Deployed")
    assert world.bench.condition("shop", "Drifted") == ("True", "Differs")
    assert "Service shop-orders" in str(world.bench.status("shop")["conditions"])
    world.let_time_pass()
    await world.visit()
    assert world.bench.condition("shop", "Drifted") == ("False", "Same")


async def test_what_is_not_helms_is_no_difference() -> None:
    world = await at_rest()
    path = f"{SERVICES}/shop-ledger"
    world.bench.cluster.request("PATCH", path, {"metadata": {"annotations": {"note": "looked at"}}})
    labels = {"app.kubernetes.io/instance": "shop"}
    world.bench.cluster.put(SERVICES, {"metadata": {"name": "somebody-elses", "labels": labels}})

    await world.visit()

    assert world.upgrades == []


async def test_what_was_changed_while_a_platform_was_suspended_is_set_back_afterwards() -> None:
    world = await at_rest()
    world.bench.change("shop", spec={"suspend": True})
    world.change_service_by_hand("gateway")
    await world.visit()
    suspended = (world.port_of("gateway"), list(world.upgrades))

    world.bench.change("shop", spec={"suspend": False})
    await world.visit()

    assert suspended == (1, [])
    assert world.port_of("gateway") == 8080


async def test_what_stood_before_an_operator_noted_it_is_taken_as_it_is() -> None:
    world = await at_rest()
    del world.bench.body("shop")["status"]["ownedFields"]
    world.change_service_by_hand("gateway")

    await world.visit()

    assert world.upgrades == []
    assert world.bench.status("shop")["ownedFields"]["revision"] == world.revision
