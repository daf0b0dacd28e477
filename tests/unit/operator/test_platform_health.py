"""What a platform says of the resources and services that belong to it: right counts, and what is to be done."""

from typing import Any

import pytest

from tradeflow_operator.reconcile.platform_health import (
    Component,
    Health,
    OwnResource,
    component_of,
    health_conditions,
    own_resource_of,
)
from tradeflow_operator.resources import PAUSED_ANNOTATION


def a_topic(
    name: str,
    ready: str = "True",
    *,
    reason: str = "InSync",
    message: str = "It is there.",
    stalled: str = "False",
    seen_generation: int = 2,
    paused: bool = False,
    deleting: bool = False,
) -> OwnResource:
    told = {"observedGeneration": seen_generation}
    conditions = [
        {"type": "Ready", "status": ready, "reason": reason, "message": message, **told},
        {"type": "Stalled", "status": stalled, **told},
    ]
    metadata: dict[str, Any] = {"name": name, "generation": 2}
    if paused:
        metadata["annotations"] = {PAUSED_ANNOTATION: "true"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return own_resource_of("EventTopic", {"metadata": metadata, "status": {"conditions": conditions}})


def said_of(*resources: OwnResource, of_type: str = "TopicsReady") -> tuple[str, str]:
    """Return the status and the message of a condition."""
    conditions = {condition.type: condition for condition in health_conditions(Health(resources=resources))}
    return conditions[of_type].status, conditions[of_type].message


def a_resource(kind: str, name: str, ready: str, message: str = "") -> OwnResource:
    told = {"type": "Ready", "status": ready, "reason": "Any", "message": message, "observedGeneration": 1}
    return own_resource_of(kind, {"metadata": {"name": name}, "status": {"conditions": [told]}})


def test_all_that_are_ready_are_counted() -> None:
    assert said_of(a_topic("a"), a_topic("b")) == ("True", "2 of 2 are ready.")


@pytest.mark.parametrize(
    ("kind", "of_type"),
    [
        ("DatabaseMigration", "MigrationsApplied"),
        ("EventTopic", "TopicsReady"),
        ("KafkaConnection", "TopicsReady"),
        ("EventSchema", "SchemasReady"),
        ("JWTKeySet", "KeysReady"),
        ("EventAccess", "AccessReady"),
        ("RateLimitPolicy", "LimitsReady"),
    ],
)
def test_each_kind_is_counted_in_its_condition(kind: str, of_type: str) -> None:
    well, ill = a_resource(kind, "a", "True"), a_resource(kind, "b", "False", "Put it right.")

    assert said_of(well, of_type=of_type) == ("True", "1 of 1 are ready.")
    assert said_of(well, ill, of_type=of_type) == ("False", f"1 of 2 are ready. {kind} b: Put it right.")


def test_what_is_paused_is_counted_as_it_was_and_named() -> None:
    status, message = said_of(a_topic("a"), a_topic("b", paused=True))

    assert (status, message) == (
        "True",
        f"2 of 2 are ready. Left alone while annotated with {PAUSED_ANNOTATION}: EventTopic b.",
    )


def test_what_was_changed_while_it_is_paused_says_how_it_goes_on() -> None:
    status, message = said_of(a_topic("a"), a_topic("b", paused=True, seen_generation=1))

    assert status == "Unknown"
    assert message.startswith("1 of 2 are ready. EventTopic b: It was changed while it is paused")
    assert PAUSED_ANNOTATION in message
    assert "It is there." not in message


def test_what_was_changed_and_not_looked_at_yet_says_so_and_not_what_was_true_before() -> None:
    assert said_of(a_topic("a", seen_generation=1)) == (
        "Unknown",
        "0 of 1 are ready. EventTopic a: The operator hasn't looked at its newest spec yet.",
    )


def test_of_a_conflict_it_is_said_whose_it_is_and_how_many_are_well() -> None:
    conflict = a_topic(
        "b",
        "False",
        reason="ResourceConflict",
        message="EventTopic x/y is older; delete one of the two.",
        stalled="True",
    )

    assert said_of(a_topic("a"), conflict, a_topic("c")) == (
        "False",
        "2 of 3 are ready. EventTopic b: EventTopic x/y is older; delete one of the two.",
    )


def test_what_a_person_has_to_put_right_is_said_first_and_the_others_are_named() -> None:
    slow = a_topic("slow", "False", reason="Creating", message="It is under way.")
    unknown = a_topic("unknown", "Unknown", reason="KafkaUnreachable", message="Kafka doesn't answer.")
    stuck = a_topic("stuck", "False", reason="AdoptionRefused", message="Set spec.adoptionPolicy.", stalled="True")

    status, message = said_of(unknown, slow, stuck)

    assert status == "False"
    assert message.startswith("0 of 3 are ready. EventTopic stuck: Set spec.adoptionPolicy.")
    assert message.endswith("Not ready either: EventTopic slow, EventTopic unknown.")


def test_many_are_told_by_their_number() -> None:
    topics = [a_topic(f"t{number}", "False", message="No.") for number in range(20)]

    _, message = said_of(*topics)

    assert message.endswith("Not ready either: EventTopic t1, EventTopic t2, EventTopic t3, EventTopic t4 and 15 more.")


def test_what_is_being_deleted_is_not_counted() -> None:
    assert said_of(a_topic("a"), a_topic("b", deleting=True)) == (
        "True",
        "1 of 1 are ready. Being deleted: EventTopic b.",
    )


def test_what_is_all_being_deleted_is_no_readiness() -> None:
    status, message = said_of(a_topic("a", deleting=True))

    assert status == "Unknown"
    assert message == "There is no EventTopic or KafkaConnection. Being deleted: EventTopic a."


def test_a_deletion_that_is_refused_says_why() -> None:
    refused = a_topic("b", "False", reason="DeletionRefused", message="It has records.", stalled="True", deleting=True)

    assert said_of(a_topic("a"), refused) == ("False", "1 of 2 are ready. EventTopic b: It has records.")


def components_said(*components: Component) -> tuple[str, str]:
    health = Health(components=components, wanted=("ledger", "orders"))
    conditions = {condition.type: condition for condition in health_conditions(health)}
    return conditions["ComponentsReady"].status, conditions["ComponentsReady"].message


def a_component(name: str, **fields: Any) -> Component:
    return Component(**{"name": name, "image": "tradeflow:1", "rolled_out": True, **fields})


@pytest.mark.parametrize(
    ("orders", "status", "message"),
    [
        (a_component("orders"), "True", "All are rolled out."),
        (
            a_component("orders", has_pods=False),
            "True",
            "All are rolled out. Without any Pod, since scaled to 0: orders.",
        ),
        (a_component("orders", rolled_out=False), "False", "Not rolled out: orders; events of the Pods say why."),
        (
            a_component("orders", rolled_out=False, given_up="ReplicaSet x has timed out progressing."),
            "False",
            "Not rolled out: orders; events of the Pods say why. orders: ReplicaSet x has timed out progressing.",
        ),
    ],
)
def test_services_that_do_not_run_say_where_to_look(orders: Component, status: str, message: str) -> None:
    assert components_said(a_component("ledger"), orders) == (status, message)


def test_a_service_that_is_not_there_says_what_to_do() -> None:
    status, message = components_said(a_component("ledger"))

    assert status == "False"
    assert message.startswith("Not there: orders. A roll-out brings it; where there is none, install it")


def test_a_deployment_of_no_replicas_has_no_pods() -> None:
    template = {"spec": {"containers": [{"image": "tradeflow:1"}]}}
    deployment = {"metadata": {}, "spec": {"replicas": 0, "template": template}}

    assert not component_of("ledger", deployment).has_pods
