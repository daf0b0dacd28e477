"""EventTopic on a real API server and a real Kafka."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorShop
from tests.support.waiting import wait_until

TOPIC = "EventTopic"

Start = Callable[..., Operator]


def test_a_topics_life_from_creation_to_deletion(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.topic(deletionPolicy="Delete", allowDataLoss=shop.topic_name(), config={"retention.ms": "100000"})
    shop.wait_for(TOPIC, "orders", "True", "InSync")
    assert shop.partitions() == 3

    shop.topic(
        deletionPolicy="Delete",
        allowDataLoss=shop.topic_name(),
        partitions=6,
        annotations={"tradeflow.dev/allow-key-movement": "6"},
    )
    wait_until(lambda: shop.partitions() == 6, "it doesn't grow")
    shop.wait_for(TOPIC, "orders", "True", "InSync")
    assert shop.status(TOPIC, "orders")["partitions"] == 6

    shop.produce()
    shop.namespace.kubectl("delete", "eventtopic", "orders", "--wait=false")
    shop.wait_for(TOPIC, "orders", "False", "DeletionRefused")
    assert shop.partitions() == 6


def test_an_empty_topic_goes_with_its_resource_where_that_is_asked_for_twice(
    shop: OperatorShop, start_operator: Start
) -> None:
    start_operator()
    shop.topic(deletionPolicy="Delete", allowDataLoss=shop.topic_name())
    shop.topic("kept")
    for name in ("orders", "kept"):
        shop.wait_for(TOPIC, name, "True", "InSync")

    shop.namespace.kubectl("delete", "eventtopic", "--all", "--timeout=60s")

    wait_until(lambda: shop.topic_id() is None, "the topic is still there")
    assert shop.partitions("kept") == 3


def test_a_setting_may_be_spelled_as_people_do(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()

    shop.topic(config={"cleanup.policy": "compact, delete", "min.cleanable.dirty.ratio": "0.50", "preallocate": "TRUE"})

    shop.wait_for(TOPIC, "orders", "True", "InSync")


def test_a_topic_that_others_made_is_adopted_by_policy(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.make_topic(partitions=3)
    shop.topic(adoptionPolicy="Never")
    shop.wait_for(TOPIC, "orders", "False", "AdoptionRefused")

    shop.topic(config={"retention.ms": "1234"})
    shop.wait_for(TOPIC, "orders", "False", "AdoptionRefused")
    assert "retention.ms" in shop.status(TOPIC, "orders")["plannedChanges"][0]

    shop.topic(config={"retention.ms": "1234"}, adoptionPolicy="Adopt")
    shop.wait_for(TOPIC, "orders", "True", "InSync")


def test_drift_is_mended_or_told(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.topic()
    shop.wait_for(TOPIC, "orders", "True", "InSync")

    shop.add_partitions("orders", 5)
    shop.wait_for(TOPIC, "orders", "False", "PartitionShrinkRefused")
    shop.wait_for(TOPIC, "orders", "True", "Differs", of_type="Drifted")

    shop.topic(partitions=5)
    shop.wait_for(TOPIC, "orders", "True", "InSync")
    shop.delete_topic()
    shop.wait_for(TOPIC, "orders", "False", "ExternalDeleted")
    shop.make_topic(partitions=5)
    shop.wait_for(TOPIC, "orders", "False", "ExternalReplaced")

    shop.annotate(TOPIC, "orders", force="1")
    shop.wait_for(TOPIC, "orders", "True", "InSync")
    assert shop.status(TOPIC, "orders")["lastHandledForce"] == "1"


def test_a_paused_topic_is_left_alone(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.topic()
    shop.wait_for(TOPIC, "orders", "True", "InSync")

    shop.annotate(TOPIC, "orders", paused="true")
    wait_until(lambda: shop.condition(TOPIC, "orders", "Paused")[0] == "True", "it isn't paused")
    shop.topic(partitions=9, keyed=False, annotations={"tradeflow.dev/paused": "true"})
    shop.annotate(TOPIC, "orders", paused="false")
    wait_until(lambda: shop.partitions() == 9, "it doesn't go on")


def test_two_resources_for_one_topic_tell_who_owns_it(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.topic("first", topicName=shop.topic_name())
    shop.wait_for(TOPIC, "first", "True", "InSync")
    shop.topic("second", topicName=shop.topic_name())
    shop.wait_for(TOPIC, "second", "False", "ResourceConflict")

    shop.namespace.kubectl("delete", "eventtopic", "first")
    shop.wait_for(TOPIC, "second", "True", "InSync")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"partitions": 2}, "can't take partitions away"),
        ({"topicName": "another"}, "can't be renamed"),
        ({"deletionPolicy": "Delete"}, "needs allowDataLoss"),
        ({"partitions": "three"}, "partitions"),
    ],
)
def test_rule_3_and_7_what_can_never_be_right_is_refused_by_the_api_server(
    shop: OperatorShop, change: dict[str, Any], complaint: str
) -> None:
    shop.topic()

    with pytest.raises(AssertionError, match=complaint):
        shop.topic(**change)


def test_a_change_costs_at_most_two_writes_and_a_restart_none(shop: OperatorShop, start_operator: Start) -> None:
    operator = start_operator()
    shop.wait_for("KafkaConnection", "kafka", "True", "Reachable")
    before = operator.metric("tradeflow_operator_writes_total", target="kubernetes", verb="patch")
    shop.topic(deletionPolicy="Delete", allowDataLoss=shop.topic_name())
    shop.wait_for(TOPIC, "orders", "True", "InSync")
    written = operator.metric("tradeflow_operator_writes_total", target="kubernetes", verb="patch") - before
    assert written <= 2

    assert operator.stop() == 0
    again = start_operator("again")
    again.wait_until_leading()
    wait_until(
        lambda: again.metric("tradeflow_operator_reconciles_total", outcome="in_sync") >= 4, "it doesn't look at all"
    )
    assert again.metric("tradeflow_operator_writes_total", target="kubernetes", verb="patch") == 0
    assert again.metric("tradeflow_operator_writes_total", target="kafka") == 0
