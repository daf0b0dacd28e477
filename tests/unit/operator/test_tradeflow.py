"""TradeFlow on a cluster in memory: the steps of a roll-out, and what stops it."""

import pytest

from tests.support.platform_world import COMPONENTS, PlatformWorld, at_rest
from tradeflow_operator.resources import FORCE_ANNOTATION


async def test_a_platform_is_installed_ledger_first_and_orders_with_the_gateway_whose_keys_it_needs() -> None:
    world = PlatformWorld()
    world.bench.create("shop", version="1")

    await world.visit()
    first = world.tags()
    await world.visit()
    waiting = world.tags()
    world.roll_out("ledger")
    await world.visit()

    assert first == waiting == {"ledger": "1"}
    assert world.tags() == {"ledger": "1", "orders": "1", "gateway": "1"}
    assert world.bench.condition("shop", "Ready") == ("False", "RollingOut")


async def test_an_upgrade_goes_through_ledger_orders_and_gateway_each_after_its_migrations() -> None:
    world = PlatformWorld()
    await world.installed()
    world.upgrades.clear()
    world.migration(ready=False)
    world.bench.change("shop", spec={"version": "2"})

    seen, held_up = [], {}
    for name in COMPONENTS:
        await world.visit()
        seen.append(world.tags())
        world.roll_out(name)
        if name == "ledger":
            await world.visit()
            held_up = world.tags()
            world.migration(ready=True)

    assert held_up == seen[0]
    assert seen == [
        {"ledger": "2", "orders": "1", "gateway": "1"},
        {"ledger": "2", "orders": "2", "gateway": "1"},
        {"ledger": "2", "orders": "2", "gateway": "2"},
    ]
    assert [step for step, _ in world.upgrades] == [*COMPONENTS]
    assert await world.visit() == ("True", "Deployed")
    assert world.bench.status("shop")["version"] == "2"


async def test_a_failed_step_leaves_the_rest_on_the_old_version_says_why_and_is_not_tried_again_before_a_change() -> (
    None
):
    world = PlatformWorld()
    await world.installed()
    world.bench.change("shop", spec={"version": "2"})
    await world.visit()
    world.roll_out("ledger", given_up="ReplicaSet shop-ledger has timed out progressing.")
    for _ in range(3):
        await world.visit()
    world.upgrades.clear()
    await world.visit()

    assert world.tags() == {"ledger": "2", "orders": "1", "gateway": "1"}
    assert world.bench.condition("shop", "Ready") == ("False", "StepFailed")
    assert "timed out progressing" in str(world.bench.status("shop"))
    assert world.upgrades == []

    world.bench.change("shop", metadata={"annotations": {FORCE_ANNOTATION: "again"}})
    world.roll_out("ledger")
    await world.visit()
    assert world.upgrades != []


async def test_a_platform_at_rest_is_not_upgraded_and_not_written() -> None:
    world = PlatformWorld()
    await world.installed()
    world.upgrades.clear()
    world.bench.cluster.writes.clear()

    for _ in range(3):
        await world.visit()

    assert (world.upgrades, world.bench.cluster.writes) == ([], [])


async def test_new_values_roll_out_too() -> None:
    world = PlatformWorld()
    await world.installed()
    world.upgrades.clear()
    world.bench.change("shop", spec={"values": {"ledger": {"replicaCount": 3}}})

    await world.visit()

    assert world.upgrades[0][1]["ledger"]["replicaCount"] == 3


@pytest.mark.parametrize("left_out", COMPONENTS)
async def test_a_service_that_is_left_out_is_not_waited_for(left_out: str) -> None:
    world = PlatformWorld()
    world.bench.create("shop", version="1", values={"install": {left_out: False}})

    for name in COMPONENTS:
        await world.visit()
        if name != left_out:
            world.roll_out(name)

    assert await world.visit() == ("True", "Deployed")
    assert set(world.tags()) == {*COMPONENTS} - {left_out}
    assert world.bench.status("shop")["components"] == "2/2"


async def test_a_service_that_is_left_out_may_be_somebody_elses() -> None:
    world = PlatformWorld()
    world.deploy("ledger", "1", release="theirs")
    world.bench.create("shop", version="2", values={"install": {"ledger": False}})

    await world.visit()

    assert world.tags() == {"ledger": "1", "orders": "2", "gateway": "2"}


async def test_a_platform_without_any_service_is_refused() -> None:
    world = PlatformWorld()
    world.bench.create("shop", version="1", values={"install": dict.fromkeys(COMPONENTS, False)})

    assert await world.visit() == ("False", "InvalidSpec")
    assert world.upgrades == []


async def test_a_helm_process_that_died_is_forgotten_and_its_step_begun_anew() -> None:
    world = PlatformWorld()
    await world.installed()
    labels = {"tradeflow.dev/owner": "shop", "tradeflow.dev/digest": "another", "tradeflow.dev/step": "ledger"}
    world.record("pending-upgrade", labels)
    died = world.revision
    world.upgrades.clear()

    await world.visit()

    assert world.bench.found("secrets", f"sh.helm.release.v1.shop.v{died}") is None


async def test_an_operator_without_a_version_is_refused() -> None:
    world = PlatformWorld()
    world.bench.create("shop")

    assert await world.visit() == ("False", "InvalidSpec")


async def test_values_of_a_service_change_in_its_turn() -> None:
    world = PlatformWorld()
    await world.installed(values={"gateway": {"replicaCount": 2, "podLabels": {"team": "old"}}})
    world.upgrades.clear()
    world.bench.change("shop", spec={"values": {"gateway": {"replicaCount": 3, "podLabels": None}}})

    for name in COMPONENTS:
        await world.visit()
        world.roll_out(name)

    gateways = [values["gateway"] for _, values in world.upgrades]
    assert [gateway["replicaCount"] for gateway in gateways] == [2, 2, 3]
    assert [gateway.get("podLabels") for gateway in gateways] == [{"team": "old"}, {"team": "old"}, None]


async def test_a_migration_that_failed_ends_its_step_at_once_and_goes_on_when_it_is_put_right() -> None:
    world = PlatformWorld()
    await world.installed()
    world.migration(ready=False, reason="MigrationFailed", stalled=True)
    world.bench.change("shop", spec={"version": "2"})
    await world.visit()

    failed = await world.visit()
    world.migration(ready=True)
    still = await world.visit()
    world.roll_out("ledger")
    await world.visit()

    assert failed == still == ("False", "StepFailed")
    assert world.tags() == {"ledger": "2", "orders": "2", "gateway": "1"}
    assert "failedStep" not in world.bench.status("shop")


async def test_a_migration_that_waits_for_a_person_may_wait_longer_than_a_step() -> None:
    world = PlatformWorld()
    await world.installed()
    world.migration(ready=False, reason="AwaitingApproval", stalled=True)
    world.bench.change("shop", spec={"version": "2"})
    await world.visit()
    world.let_time_pass()

    assert await world.visit() == ("False", "RollingOut")


async def test_a_step_that_takes_too_long_has_failed() -> None:
    world = PlatformWorld()
    await world.installed()
    world.bench.change("shop", spec={"version": "2"})
    await world.visit()
    world.let_time_pass()

    assert await world.visit() == ("False", "StepFailed")


async def test_a_pod_that_is_away_long_after_the_roll_out_is_no_failed_step() -> None:
    world = await at_rest()

    world.roll_out("gateway", available=1)
    away = await world.visit()
    world.roll_out("gateway")

    assert away == ("False", "RollingOut")
    assert await world.visit() == ("True", "Deployed")
    assert world.upgrades == []


async def test_a_first_installation_that_was_stopped_is_begun_anew() -> None:
    world = PlatformWorld()
    world.deploy("ledger", "1")
    labels = {"tradeflow.dev/owner": "shop", "tradeflow.dev/digest": "any", "tradeflow.dev/step": "ledger"}
    world.record("pending-install", labels)
    world.bench.create("shop", version="1")

    await world.visit()
    await world.visit()

    assert world.uninstalls == 1
    assert world.tags() == {"ledger": "1"}
    assert world.bench.condition("shop", "Ready") == ("False", "RollingOut")
