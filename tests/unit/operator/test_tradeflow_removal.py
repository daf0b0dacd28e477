"""What goes with a TradeFlow that is deleted, and what stays."""

from typing import Any

import pytest

from tests.support.kind_bench import NAMESPACE
from tests.support.platform_world import COMPONENTS, PlatformWorld


async def test_who_deletes_the_resource_removes_the_platform() -> None:
    world = PlatformWorld()
    await world.installed()

    world.delete()
    await world.look()

    assert world.uninstalls == 1
    assert world.tags() == {}
    assert not world.exists()


@pytest.mark.parametrize(
    "mistake",
    [{"values": {"install": dict.fromkeys(COMPONENTS, False)}}, {"version": None}],
    ids=["nothing", "no version"],
)
async def test_who_deletes_the_resource_after_a_mistake_in_it_removes_the_platform_too(mistake: dict[str, Any]) -> None:
    world = PlatformWorld()
    await world.installed()
    world.bench.change("shop", spec=mistake)
    refused = await world.visit()

    world.delete()
    await world.look()

    assert refused == ("False", "InvalidSpec")
    assert (world.uninstalls, world.tags()) == (1, {})
    assert not world.exists()


async def test_a_mistake_in_a_resource_that_has_no_platform_needs_no_operator_to_be_deleted() -> None:
    world = PlatformWorld()
    world.bench.create("shop")
    await world.visit()

    world.delete()

    assert not world.exists()


@pytest.mark.parametrize("spec", [{"deletionPolicy": "Retain"}, {"suspend": True}])
async def test_a_platform_stays_where_its_resource_says_so(spec: dict[str, Any]) -> None:
    world = PlatformWorld()
    await world.installed()
    world.bench.change("shop", spec=spec)
    await world.visit()

    world.delete()

    assert not world.exists()
    assert (world.uninstalls, len(world.tags())) == (0, 3)


async def test_a_resource_takes_nothing_with_it_that_is_somebody_elses() -> None:
    world = PlatformWorld()
    await world.installed()
    world.record("deployed", {"tradeflow.dev/owner": "another"})

    world.delete()
    await world.look()

    assert not world.exists()
    assert (world.uninstalls, len(world.tags())) == (0, 3)


async def test_a_namespace_that_ends_does_not_wait_for_helm() -> None:
    world = PlatformWorld()
    await world.installed()
    world.bench.cluster.objects[f"/api/v1/namespaces/{NAMESPACE}"]["metadata"]["deletionTimestamp"] = (
        "2026-01-01T00:00:00Z"
    )

    world.delete()
    await world.look()

    assert not world.exists()
    assert world.uninstalls == 0
