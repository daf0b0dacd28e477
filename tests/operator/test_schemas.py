"""EventSchema on a real registry, and planning, with a real API server."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.parts.home import HOST, free_port
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorShop
from tests.support.waiting import wait_until

CONNECTION, SCHEMA = "KafkaConnection", "EventSchema"

FIRST = 'syntax = "proto3";\npackage shop;\nmessage Order { string id = 1; int64 amount = 2; }\n'
SECOND = 'syntax = "proto3";\npackage shop;\nmessage Order { string id = 1; int64 amount = 2; string note = 3; }\n'
BROKEN = 'syntax = "proto3";\npackage shop;\nmessage Order { string id = 1; string amount = 2; }\n'

Start = Callable[..., Operator]


def test_a_schemas_life_from_registration_to_soft_deletion(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    shop.schema(SECOND, compatibility="BACKWARD", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    assert len(shop.versions()) == 2

    shop.schema(BROKEN, compatibility="FULL", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "False", "Incompatible")
    assert shop.level() == "BACKWARD"
    assert len(shop.versions()) == 2
    assert shop.condition(SCHEMA, "orders", "Compatible")[0] == "False"

    shop.schema(SECOND, compatibility="BACKWARD", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    shop.namespace.kubectl("delete", "eventschema", "orders", "--timeout=60s")
    wait_until(lambda: shop.versions() == [], "the subject is still there")


def test_rule_4_a_schema_is_judged_by_the_level_that_is_asked_for(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.schema(BROKEN, compatibility="NONE")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    assert (shop.versions(), shop.level()) == ([1, 2], "NONE")


def test_a_level_that_somebody_else_set_is_set_back(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.set_level("NONE")

    wait_until(lambda: shop.level() == "BACKWARD", "the level isn't set back")


def test_what_others_do_to_a_subject_is_told_made_good_and_kept_from_deletion(
    shop: OperatorShop, start_operator: Start
) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.delete_subject()
    wait_until(lambda: shop.versions() != [], "the schema isn't registered again")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.register(SECOND)
    newest = max(shop.versions())
    wait_until(lambda: shop.status(SCHEMA, "orders").get("newestVersion") == newest, "the newer version isn't told")
    shop.namespace.kubectl("delete", "eventschema", "orders", "--timeout=60s")
    assert newest in shop.versions()


def test_a_subject_that_others_made_is_taken_over_as_far_as_its_schemas_go_together(
    shop: OperatorShop, start_operator: Start
) -> None:
    for name in ("same", "next", "broken"):
        shop.register(FIRST, name)
    level = shop.level("same")
    start_operator()

    shop.schema(FIRST, "same")
    shop.schema(SECOND, "next", compatibility="BACKWARD")
    shop.schema(BROKEN, "broken", compatibility="BACKWARD")

    shop.wait_for(SCHEMA, "same", "True", "InSync")
    shop.wait_for(SCHEMA, "next", "True", "InSync")
    shop.wait_for(SCHEMA, "broken", "False", "Incompatible")
    assert (shop.versions("same"), shop.level("same")) == ([1], level)
    assert (shop.versions("next"), shop.level("next")) == ([1, 2], "BACKWARD")
    assert (shop.versions("broken"), shop.level("broken")) == ([1], level)


def test_of_two_resources_for_one_subject_the_older_has_it(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    shop.schema(SECOND, "second", compatibility="BACKWARD", subject=shop.topic_name())
    shop.wait_for(SCHEMA, "second", "False", "ResourceConflict")
    assert len(shop.versions()) == 1

    shop.namespace.kubectl("delete", "eventschema", "orders", "--timeout=60s")
    shop.wait_for(SCHEMA, "second", "True", "InSync")
    assert len(shop.versions()) == 2


def test_two_connections_to_one_registry_do_not_make_two_owners_of_a_subject(
    shop: OperatorShop, start_operator: Start
) -> None:
    start_operator()
    # Beside another cluster, which happens to be away.
    elsewhere = {"bootstrapServers": [f"{HOST}:{free_port()}"], "registryURL": f"{shop.registry_url}/"}
    shop.apply(CONNECTION, "elsewhere", **elsewhere)
    shop.wait_for(CONNECTION, "elsewhere", "False", "KafkaUnreachable")
    shop.wait_for(CONNECTION, "kafka", "True", "Reachable")
    seen = [shop.status(CONNECTION, name)["registry"] for name in ("kafka", "elsewhere")]
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.schema(SECOND, "second", subject=shop.topic_name(), connectionRef={"name": "elsewhere"})

    shop.wait_for(SCHEMA, "second", "False", "ResourceConflict")
    assert seen[0] == seen[1]
    assert shop.versions() == [1]


def test_two_resources_that_say_the_same_of_a_subject_share_it(shop: OperatorShop, start_operator: Start) -> None:
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.schema(FIRST, "second", compatibility="BACKWARD", subject=shop.topic_name())
    start_operator()
    for name in ("orders", "second"):
        shop.wait_for(SCHEMA, name, "True", "InSync")
    assert len(shop.versions()) == 1

    shop.schema(SECOND, compatibility="BACKWARD")
    # Of those that were made in one second, either may be the owner.
    turned_away = ("False", "ResourceConflict")
    wait_until(
        lambda: [shop.says(SCHEMA, name, *turned_away) for name in ("orders", "second")].count(True) == 1,
        "nobody is told that they disagree",
    )
    other, owner = sorted(("orders", "second"), key=lambda name: not shop.says(SCHEMA, name, *turned_away))
    shop.namespace.kubectl("delete", "eventschema", owner, "--timeout=60s")
    shop.wait_for(SCHEMA, other, "True", "InSync")
    assert len(shop.versions()) == 2


def test_a_forced_schema_is_looked_at_anew_and_a_paused_one_is_left_as_it_is(
    shop: OperatorShop, start_operator: Start
) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.annotate(SCHEMA, "orders", paused="true")
    shop.wait_for(SCHEMA, "orders", "True", of_type="Paused")
    shop.patch(SCHEMA, "orders", schema=SECOND)
    shop.wait_for(SCHEMA, "orders", "True", of_type="Paused")
    assert shop.versions() == [1]

    shop.annotate(SCHEMA, "orders", paused="false", force="1")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    assert shop.versions() == [1, 2]
    assert shop.status(SCHEMA, "orders")["lastHandledForce"] == "1"


def test_a_schema_that_nobody_can_read_is_refused(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema("this is no protobuf", compatibility="BACKWARD")

    shop.wait_for(SCHEMA, "orders", "False", "SchemaInvalid")
    assert shop.versions() == []


def test_a_plan_says_what_would_be_done_and_writes_nothing(shop: OperatorShop, tmp_path: Path) -> None:
    shop.make_topic(partitions=3)
    file = tmp_path / "resources.yaml"
    spec = {"connectionRef": {"name": "kafka"}, "topicName": shop.topic_name(), "partitions": 6, "keyed": False}
    topic = shop.manifest("EventTopic", "orders", {**spec, "adoptionPolicy": "Adopt"})
    schema = {"connectionRef": {"name": "kafka"}, "subject": shop.topic_name(), "type": "PROTOBUF", "schema": FIRST}
    file.write_text(yaml.safe_dump_all([topic, shop.manifest(SCHEMA, "orders", schema)]))
    environment = {**os.environ, "TRADEFLOW_OPERATOR_KUBECONFIG": str(shop.namespace.kubeconfig)}

    command = [sys.executable, "-m", "tradeflow_operator", "plan", "-f", str(file)]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout

    assert f"would grow the topic {shop.topic_name()} from 3 to 6 partitions" in printed
    assert "would register the schema" in printed
    assert shop.partitions() == 3
    assert shop.versions() == []
    assert shop.namespace.all_of("EventTopic") == []
