"""Platforms that are only looked at, and what is said of them."""

from typing import Any

import pytest

from tests.support.platform_world import COMPONENTS, PlatformWorld


@pytest.mark.parametrize("release", ["theirs", None])
async def test_what_somebody_else_deployed_is_left_alone(release: str | None) -> None:
    world = PlatformWorld()
    world.deploy("ledger", "1", release=release)
    world.bench.create("shop", version="2")

    assert await world.visit() == ("False", "ForeignRelease")
    assert world.upgrades == []


async def test_a_helm_release_of_a_person_is_left_alone() -> None:
    world = PlatformWorld()
    world.record("deployed", {})
    world.bench.create("shop", version="2")

    assert await world.visit() == ("False", "ForeignRelease")
    assert world.upgrades == []


@pytest.mark.parametrize("spec", [{"management": "Observe"}, {"version": "2", "suspend": True}])
async def test_who_only_observes_changes_nothing_and_tells_how_it_is(spec: dict[str, Any]) -> None:
    world = PlatformWorld()
    for name in COMPONENTS:
        world.deploy(name, "1", release="theirs")
        world.roll_out(name)
    world.bench.create("shop", **spec)

    ready = await world.visit()

    assert ready[0] == "True"
    assert world.upgrades == []
    assert world.bench.status("shop")["components"] == "3/3"
    assert world.bench.condition("shop", "InvariantHolds") == ("True", "Audited")


@pytest.mark.parametrize(
    ("plural", "of_type"), [("eventaccesses", "AccessReady"), ("ratelimitpolicies", "LimitsReady")]
)
async def test_a_user_or_limits_that_are_not_ready_make_a_platform_unready(plural: str, of_type: str) -> None:
    world = PlatformWorld()
    await world.installed()
    world.own_resource(plural, "shop-first", ready=True)
    well = await world.visit()
    world.own_resource(plural, "shop-second", ready=False)

    assert well == ("True", "Deployed")
    assert await world.visit() == ("False", "NotReady")
    assert world.bench.condition("shop", of_type) == ("False", "NotReady")
    assert "1 of 2 are ready" in str(world.bench.status("shop"))


async def test_broken_money_is_said_before_anything_else() -> None:
    world = PlatformWorld()
    world.money_is_right = False
    world.deploy("ledger", "1", release="theirs")
    world.bench.create("shop", management="Observe")

    assert await world.visit() == ("False", "Broken")
    assert "sum_zero" in str(world.bench.status("shop"))


async def test_a_platform_whose_ledger_does_not_answer_is_not_known_to_be_ready() -> None:
    world = PlatformWorld()
    await world.installed()
    world.money_is_right = False
    broken = await world.visit()

    world.ledger_answers = False
    unseen = await world.visit()
    invariant = world.bench.condition("shop", "InvariantHolds")
    world.ledger_answers = world.money_is_right = True
    again = await world.visit()

    assert (broken, unseen, again) == (("False", "Broken"), ("Unknown", "NoAnswer"), ("True", "Deployed"))
    assert invariant == ("Unknown", "NoAnswer")


async def test_a_platform_whose_ledger_is_scaled_to_nothing_waits_for_no_answer() -> None:
    world = PlatformWorld()
    await world.installed()
    ledger = world.deployment("ledger")
    assert ledger is not None
    ledger["spec"]["replicas"] = 0
    ledger["status"] = {"observedGeneration": ledger["metadata"]["generation"]}
    world.ledger_answers = False

    assert await world.visit() == ("True", "Deployed")
    assert world.bench.condition("shop", "InvariantHolds") == ("Unknown", "NotAudited")
