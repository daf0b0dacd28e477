"""TradeFlow on a cluster in memory: the steps of a roll-out, what stops it, and what is only observed."""

from typing import Any

import pytest

from tests.support.kind_bench import NAMESPACE
from tests.support.platform_world import COMPONENTS, SERVICES, TOPIC, PlatformWorld
from tradeflow_operator.resources import FORCE_ANNOTATION, PAUSED_ANNOTATION


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


async def test_a_helm_process_that_died_is_forgotten_and_its_step_begun_anew() -> None:
    world = PlatformWorld()
    await world.installed()
    labels = {"tradeflow.dev/owner": "shop", "tradeflow.dev/digest": "another", "tradeflow.dev/step": "ledger"}
    world.record("pending-upgrade", labels)
    died = world.revision
    world.upgrades.clear()

    await world.visit()

    assert world.bench.found("secrets", f"sh.helm.release.v1.shop.v{died}") is None


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
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()

    world.roll_out("gateway", available=1)
    away = await world.visit()
    world.roll_out("gateway")

    assert away == ("False", "RollingOut")
    assert await world.visit() == ("True", "Deployed")
    assert world.upgrades == []


async def test_a_deployment_that_somebody_deleted_is_made_again() -> None:
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    del world.bench.cluster.objects[f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/shop-orders"]

    await world.visit()

    assert world.tags() == {"ledger": "1", "orders": "1", "gateway": "1"}


async def test_an_image_that_somebody_else_set_is_set_back_once() -> None:
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
    world.deploy("orders", "somebody-elses")

    await world.visit()

    assert world.tags() == {"ledger": "1", "orders": "1", "gateway": "1"}
    for name in COMPONENTS:
        world.roll_out(name)
    assert await world.visit() == ("True", "Deployed")
    assert len(world.upgrades) == 1


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
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()

    world.deploy("orders", f"sha256:{'e' * 64}")
    await world.visit()

    assert world.tags()["orders"] == "1"


async def test_an_image_that_is_rewritten_again_and_again_is_set_back_after_a_while_only_and_told() -> None:
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
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


async def test_what_somebody_changed_by_hand_is_set_back_once() -> None:
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
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
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
    path = f"{SERVICES}/shop-ledger"
    world.bench.cluster.request("PATCH", path, {"metadata": {"annotations": {"note": "looked at"}}})
    labels = {"app.kubernetes.io/instance": "shop"}
    world.bench.cluster.put(SERVICES, {"metadata": {"name": "somebody-elses", "labels": labels}})

    await world.visit()

    assert world.upgrades == []


async def test_what_was_changed_while_a_platform_was_suspended_is_set_back_afterwards() -> None:
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
    world.bench.change("shop", spec={"suspend": True})
    world.change_service_by_hand("gateway")
    await world.visit()
    suspended = (world.port_of("gateway"), list(world.upgrades))

    world.bench.change("shop", spec={"suspend": False})
    await world.visit()

    assert suspended == (1, [])
    assert world.port_of("gateway") == 8080


async def test_what_stood_before_an_operator_noted_it_is_taken_as_it_is() -> None:
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
    del world.bench.body("shop")["status"]["ownedFields"]
    world.change_service_by_hand("gateway")

    await world.visit()

    assert world.upgrades == []
    assert world.bench.status("shop")["ownedFields"]["revision"] == world.revision


async def at_rest() -> PlatformWorld:
    """Make a platform that was rolled out long ago."""
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
    return world


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
