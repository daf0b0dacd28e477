"""The images of a platform: by tag or digest, as webhooks rewrite them, and as people set them."""

from tests.support.platform_world import COMPONENTS, PlatformWorld, at_rest


async def test_an_image_that_is_pinned_by_its_digest_rolls_out_service_by_service() -> None:
    world = PlatformWorld()
    await world.installed()
    digest = f"sha256:{'a' * 64}"
    world.bench.change("shop", spec={"values": {"global": {"tradeflow": {"image": {"digest": digest}}}}})

    await world.visit()
    first = world.tags()
    for name in COMPONENTS:
        world.roll_out(name)
        await world.visit()

    assert first == {"ledger": digest, "orders": "1", "gateway": "1"}
    assert set(world.tags().values()) == {digest}
    assert world.bench.condition("shop", "Ready") == ("True", "Deployed")


async def test_an_image_that_somebody_else_set_is_set_back_once() -> None:
    world = await at_rest()
    world.deploy("orders", "somebody-elses")

    await world.visit()

    assert world.tags() == {"ledger": "1", "orders": "1", "gateway": "1"}
    for name in COMPONENTS:
        world.roll_out(name)
    assert await world.visit() == ("True", "Deployed")
    assert len(world.upgrades) == 1


def pinned(image: str) -> str:
    """Add the digest to a tag, as webhooks do that verify images."""
    return image if "@" in image else f"{image}@sha256:{'b' * 64}"


async def test_a_platform_whose_images_a_webhook_pins_is_deployed_and_left_alone() -> None:
    world = PlatformWorld()
    world.admitted = pinned
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()

    said = await world.visit()

    assert (said, world.upgrades) == (("True", "Deployed"), [])
    assert world.bench.status("shop")["version"] == "1"
    assert world.bench.condition("shop", "Drifted") == ("False", "Same")


async def test_an_upgrade_leaves_pinned_images_of_later_steps_as_they_are() -> None:
    world = PlatformWorld()
    world.admitted = pinned
    await world.installed()
    before = world.tags()
    world.upgrades.clear()
    world.bench.change("shop", spec={"version": "2"})

    await world.visit()

    assert world.tags() == {**before, "ledger": before["ledger"].replace("1@", "2@", 1)}
    assert world.upgrades[0][1]["gateway"]["image"] == {"tag": "1", "digest": ""}


def by_digest_alone(image: str) -> str:
    """Put the digest into a tag's place, as other webhooks do."""
    name, colon, tag = image.rpartition(":")
    return image if "@" in image or not colon else f"{name}@sha256:{tag * 64}"


async def test_a_platform_whose_images_a_webhook_names_by_digest_alone_is_deployed_upgraded_and_left_alone() -> None:
    world = PlatformWorld()
    world.admitted = by_digest_alone
    await world.installed()
    before = world.tags()
    world.upgrades.clear()
    world.bench.change("shop", spec={"version": "2"})

    await world.visit()
    first = world.tags()
    for name in COMPONENTS:
        world.roll_out(name)
        await world.visit()
    world.let_time_pass()
    deployed = len(world.upgrades)
    said = await world.visit()

    assert first == {**before, "ledger": f"sha256:{'2' * 64}"}
    assert set(world.tags().values()) == {f"sha256:{'2' * 64}"}
    assert (said, deployed, len(world.upgrades)) == (("True", "Deployed"), 3, 3)
    assert world.bench.status("shop")["version"] == "2"


async def test_an_image_that_a_person_named_by_its_digest_is_set_back_though_the_label_has_the_version() -> None:
    world = await at_rest()

    world.deploy("orders", f"sha256:{'e' * 64}")
    await world.visit()

    assert world.tags()["orders"] == "1"


async def test_an_image_that_is_rewritten_again_and_again_is_set_back_after_a_while_only_and_told() -> None:
    world = await at_rest()
    world.admitted = lambda image: image.replace("tradeflow:1", "tradeflow:9")
    world.deploy("orders", "1")

    said = [await world.visit() for _ in range(3)]
    deployed = len(world.upgrades)
    world.let_time_pass()
    await world.visit()

    assert said == [("False", "RollingOut")] * 3
    assert (deployed, len(world.upgrades)) == (1, 2)
    assert world.bench.condition("shop", "Drifted") == ("True", "Differs")
    assert "orders, whose image is registry.example/tradeflow:9 instead of 1" in str(world.bench.status("shop"))


async def test_a_step_that_waits_for_its_image_says_which_is_there() -> None:
    world = PlatformWorld()
    world.admitted = lambda image: image.replace("tradeflow:1", "mirror:9")
    world.bench.create("shop", version="1")
    await world.visit()
    world.roll_out("ledger")
    world.let_time_pass()

    assert await world.visit() == ("False", "StepFailed")
    assert "its image is registry.example/mirror:9 instead of 1" in str(world.bench.status("shop"))
