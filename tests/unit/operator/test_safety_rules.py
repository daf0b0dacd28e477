"""Each of the operator's ten safety rules has a test that bears its number, here and on real servers."""

from typing import Any

import pytest

from tests.support.fake_kafka_admin import FakeTopic
from tests.support.operator_world import NAMESPACE, OperatorProcess, OperatorWorld
from tradeflow_operator.reconcile.event_topic import GROW_ANNOTATION
from tradeflow_operator.resources import FORCE_ANNOTATION, PAUSED_ANNOTATION, ObjectKey

TOPIC = "EventTopic"
SCHEMA = "EventSchema"
FIRST = 'syntax = "proto3"; message A { string a = 1; string b = 2; }'
WITHOUT_B = 'syntax = "proto3"; message A { string a = 1; }'
WITH_C = 'syntax = "proto3"; message A { string a = 1; string b = 2; string c = 3; }'


@pytest.fixture
def world() -> OperatorWorld:
    return OperatorWorld()


async def test_rule_1_a_deleted_resource_leaves_its_topic_by_default(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3)
    await OperatorProcess(world).settle()
    assert not world.body(TOPIC, "orders")["metadata"].get("finalizers")

    world.delete(TOPIC, "orders")
    await OperatorProcess(world).settle()

    assert not world.exists(TOPIC, "orders")
    assert "orders" in world.kafka.topics


@pytest.mark.parametrize("use", [{"records": 1}, {"groups": ("ledger",)}])
async def test_rule_1_a_topic_in_use_is_not_deleted(world: OperatorWorld, use: dict[str, object]) -> None:
    world.create(TOPIC, "orders", partitions=3, deletionPolicy="Delete", allowDataLoss="orders")
    await OperatorProcess(world).settle()
    for name, value in use.items():
        setattr(world.kafka.topics["orders"], name, value)

    world.delete(TOPIC, "orders")
    await OperatorProcess(world).settle()

    assert "orders" in world.kafka.topics
    assert world.ready(TOPIC, "orders") == ("False", "DeletionRefused")


async def test_rule_1_an_empty_topic_is_deleted_where_three_things_say_so(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3, deletionPolicy="Delete", allowDataLoss="orders")
    await OperatorProcess(world).settle()

    world.delete(TOPIC, "orders")
    await OperatorProcess(world).settle()

    assert world.kafka.topics == {}
    assert not world.exists(TOPIC, "orders")


async def test_rule_1_a_namespace_never_hangs_on_a_refused_deletion(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3, deletionPolicy="Delete", allowDataLoss="orders")
    await OperatorProcess(world).settle()
    world.kafka.topics["orders"].records = 7
    world.cluster.objects[f"/api/v1/namespaces/{NAMESPACE}"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    world.delete(TOPIC, "orders")
    await OperatorProcess(world).settle()

    assert not world.exists(TOPIC, "orders")
    assert "orders" in world.kafka.topics
    assert [event["reason"] for event in world.cluster.events()] == ["Retained"]


@pytest.mark.parametrize(
    ("policy", "partitions", "taken"),
    [("Never", 3, False), ("IfIdentical", 3, True), ("IfIdentical", 4, False), ("Adopt", 4, True)],
)
async def test_rule_2_a_topic_that_is_there_is_taken_only_by_policy(
    world: OperatorWorld, policy: str, partitions: int, *, taken: bool
) -> None:
    world.kafka.topics["orders"] = FakeTopic("before", 3, 1)
    world.create(TOPIC, "orders", partitions=partitions, adoptionPolicy=policy, keyed=False)

    await OperatorProcess(world).settle()

    assert (world.ready(TOPIC, "orders")[0] == "True") is taken
    assert (world.body(TOPIC, "orders")["status"].get("topicID") == "before") is taken
    assert bool(world.kafka.writes) is (policy == "Adopt")


async def test_rule_2_a_replaced_topic_is_not_taken_for_the_old_one(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3)
    await OperatorProcess(world).settle()
    world.kafka.topics["orders"] = FakeTopic("another", 3, 1)

    await OperatorProcess(world).visit(TOPIC, "orders")
    assert world.ready(TOPIC, "orders") == ("False", "ExternalReplaced")
    await OperatorProcess(world).visit(TOPIC, "orders")
    assert world.ready(TOPIC, "orders") == ("False", "ExternalReplaced")

    world.change(TOPIC, "orders", metadata={"annotations": {FORCE_ANNOTATION: "1"}})
    await OperatorProcess(world).settle()
    assert world.ready(TOPIC, "orders") == ("True", "InSync")


async def test_rule_2_a_topic_is_known_by_its_id_also_after_a_spec_that_could_not_be_read(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3)
    await OperatorProcess(world).settle()
    world.change(TOPIC, "orders", spec={"ofALaterVersion": True})
    await OperatorProcess(world).settle()
    assert world.ready(TOPIC, "orders") == ("False", "InvalidSpec")

    world.kafka.topics["orders"] = FakeTopic("another", 3, 1)
    world.change(TOPIC, "orders", spec={"ofALaterVersion": None})
    await OperatorProcess(world).settle()

    assert world.ready(TOPIC, "orders") == ("False", "ExternalReplaced")


async def test_rule_2_a_topic_that_others_deleted_is_made_anew_only_by_force(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3)
    await OperatorProcess(world).settle()
    world.kafka.topics.clear()

    for _ in range(3):
        await OperatorProcess(world).visit(TOPIC, "orders")
    assert world.ready(TOPIC, "orders") == ("False", "ExternalDeleted")
    assert world.kafka.topics == {}

    world.change(TOPIC, "orders", metadata={"annotations": {FORCE_ANNOTATION: "1"}})
    await OperatorProcess(world).settle()
    assert list(world.kafka.topics) == ["orders"]


async def test_rule_3_partitions_that_others_added_are_not_taken_away(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3)
    await OperatorProcess(world).settle()
    world.kafka.topics["orders"].partitions = 12

    await OperatorProcess(world).visit(TOPIC, "orders")

    assert world.ready(TOPIC, "orders") == ("False", "PartitionShrinkRefused")
    assert world.conditions(TOPIC, "orders")["Drifted"]["status"] == "True"


async def test_rule_3_a_keyed_topic_grows_only_when_it_is_acknowledged(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3)
    await OperatorProcess(world).settle()
    world.change(TOPIC, "orders", spec={"partitions": 6})

    await OperatorProcess(world).settle()
    assert world.ready(TOPIC, "orders") == ("False", "KeyMovementNotAllowed")
    assert world.kafka.topics["orders"].partitions == 3

    world.change(TOPIC, "orders", metadata={"annotations": {GROW_ANNOTATION: "6"}})
    await OperatorProcess(world).settle()
    assert world.kafka.topics["orders"].partitions == 6


async def test_rule_4_a_rejected_schema_leaves_the_level_as_it_was(world: OperatorWorld) -> None:
    world.create(SCHEMA, "orders", subject="orders-value", type="PROTOBUF", schema=FIRST, compatibility="BACKWARD")
    await OperatorProcess(world).settle()
    world.change(SCHEMA, "orders", spec={"schema": WITHOUT_B, "compatibility": "FULL"})
    world.registry.checks_only_when_registering = True

    operator = OperatorProcess(world)
    await operator.settle()
    await operator.visit(SCHEMA, "orders")

    assert world.ready(SCHEMA, "orders") == ("False", "Incompatible")
    assert world.registry.levels == {"orders-value": "BACKWARD"}
    assert world.registry.versions == {"orders-value": [FIRST]}
    assert world.conditions(SCHEMA, "orders")["Compatible"]["status"] == "False"


async def test_rule_4_an_incompatible_schema_is_refused_before_anything_is_written(world: OperatorWorld) -> None:
    world.create(SCHEMA, "orders", subject="orders-value", type="PROTOBUF", schema=FIRST, compatibility="BACKWARD")
    await OperatorProcess(world).settle()
    world.registry.writes.clear()

    world.change(SCHEMA, "orders", spec={"schema": WITHOUT_B})
    await OperatorProcess(world).settle()

    assert world.ready(SCHEMA, "orders") == ("False", "Incompatible")
    assert world.registry.writes == []


async def test_rule_4_a_rejected_schema_is_not_tried_again_at_each_look(world: OperatorWorld) -> None:
    world.registry.versions["orders-value"] = [FIRST]
    world.create(SCHEMA, "orders", subject="orders-value", type="PROTOBUF", schema=WITHOUT_B, compatibility="FULL")
    await OperatorProcess(world).settle()
    assert world.registry.levels == {}
    world.registry.writes.clear()

    await OperatorProcess(world).visit(SCHEMA, "orders")

    assert world.registry.writes == []
    assert world.ready(SCHEMA, "orders") == ("False", "Incompatible")


async def test_rule_6_a_force_is_compared_and_never_removed(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3, annotations={FORCE_ANNOTATION: "1"})

    await OperatorProcess(world).settle()

    body = world.body(TOPIC, "orders")
    assert body["status"]["lastHandledForce"] == "1"
    assert body["metadata"]["annotations"][FORCE_ANNOTATION] == "1"


async def test_rule_6_a_paused_topic_stays_ready_and_untouched(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3)
    await OperatorProcess(world).settle()
    world.change(TOPIC, "orders", metadata={"annotations": {PAUSED_ANNOTATION: "true"}}, spec={"config": {"a": "b"}})

    await OperatorProcess(world).settle()

    assert world.ready(TOPIC, "orders") == ("True", "InSync")
    assert world.conditions(TOPIC, "orders")["Paused"]["status"] == "True"
    assert world.kafka.topics["orders"].config == {}


async def test_rule_9_events_tell_transitions_only(world: OperatorWorld) -> None:
    world.create(TOPIC, "orders", partitions=3)
    operator = OperatorProcess(world)
    await operator.settle()
    world.kafka.topics["orders"].partitions = 12

    for _ in range(5):
        await operator.visit(TOPIC, "orders")

    assert [event["reason"] for event in world.cluster.events()] == ["PartitionShrinkRefused", "Stalled", "Drifted"]


async def test_rule_10_of_two_resources_for_one_topic_the_older_wins(world: OperatorWorld) -> None:
    world.create(TOPIC, "first", topicName="orders", partitions=3)
    world.create(TOPIC, "second", topicName="orders", partitions=6)

    await OperatorProcess(world).settle()

    assert world.kafka.topics["orders"].partitions == 3
    assert world.ready(TOPIC, "first") == ("True", "InSync")
    assert world.ready(TOPIC, "second") == ("False", "ResourceConflict")
    assert "shop/first" in world.conditions(TOPIC, "second")["Ready"]["message"]


async def test_rule_10_of_two_resources_of_one_second_the_one_that_has_the_topic_keeps_it(world: OperatorWorld) -> None:
    operator = OperatorProcess(world)
    world.create(TOPIC, "first", topicName="orders", partitions=3)
    world.body(TOPIC, "first")["metadata"] |= {"creationTimestamp": "2026-01-01T12:00:00Z", "uid": "z"}
    await operator.settle()
    world.create(TOPIC, "second", topicName="orders", partitions=6)
    world.body(TOPIC, "second")["metadata"] |= {"creationTimestamp": "2026-01-01T12:00:00Z", "uid": "a"}

    await operator.settle()
    await OperatorProcess(world).settle()

    assert world.kafka.topics["orders"].partitions == 3
    assert world.ready(TOPIC, "first") == ("True", "InSync")
    assert world.ready(TOPIC, "second") == ("False", "ResourceConflict")


SHARED: dict[str, Any] = {"subject": "shared.proto", "type": "PROTOBUF", "compatibility": "BACKWARD"}
"""What two installations on one registry say of a file that both import."""


async def test_resources_that_say_the_same_of_a_subject_share_it(world: OperatorWorld) -> None:
    world.create(SCHEMA, "first", schema=FIRST, **SHARED)
    world.create(SCHEMA, "second", schema=FIRST, **SHARED)
    operator = OperatorProcess(world)

    await operator.settle()
    both = [world.ready(SCHEMA, name) for name in ("first", "second")]
    world.delete(SCHEMA, "first")
    await operator.settle()

    assert both == [("True", "InSync"), ("True", "InSync")]
    assert not world.exists(SCHEMA, "first")
    assert world.ready(SCHEMA, "second") == ("True", "InSync")
    assert len(world.registry.versions["shared.proto"]) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"schema": WITH_C},
        {"compatibility": "FULL"},
        {"compatibility": None},
        {"deletionPolicy": "Delete"},
        {"references": [{"name": "a.proto", "subject": "a.proto", "version": 1}]},
    ],
    ids=lambda other: next(iter(other)),
)
@pytest.mark.parametrize("differs", ["first", "second"])
async def test_rule_10_of_two_that_say_otherwise_of_a_subject_the_older_has_it(
    world: OperatorWorld, other: dict[str, object], differs: str
) -> None:
    said = {"schema": FIRST, **SHARED}
    said_otherwise = {name: value for name, value in {**said, **other}.items() if value is not None}
    for name in ("first", "second"):
        world.create(SCHEMA, name, **(said_otherwise if name == differs else said))

    await OperatorProcess(world).settle()

    assert world.ready(SCHEMA, "first")[1] != "ResourceConflict"
    assert world.ready(SCHEMA, "second") == ("False", "ResourceConflict")
    assert len(world.registry.versions.get("shared.proto", [])) <= 1


async def test_rule_10_who_shares_a_subject_is_told_when_its_owner_says_otherwise(world: OperatorWorld) -> None:
    for name in ("first", "second", "third"):
        world.create(SCHEMA, name, schema=FIRST, **SHARED)
    operator = OperatorProcess(world)
    await operator.settle()

    world.change(SCHEMA, "first", spec={"schema": WITH_C})
    await operator.settle()
    apart = [world.ready(SCHEMA, name) for name in ("second", "third")]
    world.change(SCHEMA, "third", spec={"schema": WITH_C})
    await operator.settle()

    assert apart == [("False", "ResourceConflict")] * 2
    assert "shop/first" in world.conditions(SCHEMA, "second")["Ready"]["message"]
    assert world.ready(SCHEMA, "second") == ("False", "ResourceConflict")
    assert [world.ready(SCHEMA, name) for name in ("first", "third")] == [("True", "InSync")] * 2


async def test_rule_10_who_may_not_use_a_connection_keeps_nobody_from_its_topics(world: OperatorWorld) -> None:
    world.create(TOPIC, "first", topicName="orders", partitions=3)
    stranger = world.cluster.objects.pop(world.path(TOPIC, "first"))
    stranger["metadata"]["namespace"] = "elsewhere"
    stranger["spec"]["connectionRef"] = {"name": "kafka", "namespace": NAMESPACE}
    world.create(TOPIC, "second", topicName="orders", partitions=6)
    operator = OperatorProcess(world)
    operator.sync()
    operator.intake.note(TOPIC, None, stranger)

    await operator.visitor.visit(operator.kinds[TOPIC], ObjectKey(TOPIC, NAMESPACE, "second"), failures_before=0)

    assert world.ready(TOPIC, "second") == ("True", "InSync")


async def test_a_topic_waits_for_its_connection(world: OperatorWorld) -> None:
    connection = world.cluster.objects.pop(world.path("KafkaConnection", "kafka"))
    world.create(TOPIC, "orders", partitions=3)
    operator = OperatorProcess(world)
    await operator.settle()
    assert world.ready(TOPIC, "orders") == ("Unknown", "ConnectionNotFound")

    world.cluster.objects[world.path("KafkaConnection", "kafka")] = connection
    await operator.settle()

    assert world.ready(TOPIC, "orders") == ("True", "InSync")


async def test_a_new_version_of_a_schema_is_registered_and_verified(world: OperatorWorld) -> None:
    world.create(SCHEMA, "orders", subject="orders-value", type="PROTOBUF", schema=FIRST, compatibility="BACKWARD")
    await OperatorProcess(world).settle()
    world.change(SCHEMA, "orders", spec={"schema": WITH_C})

    await OperatorProcess(world).settle()

    assert world.registry.versions == {"orders-value": [FIRST, WITH_C]}
    assert world.body(SCHEMA, "orders")["status"]["version"] == 2
    assert "levelBefore" not in world.body(SCHEMA, "orders")["status"]
