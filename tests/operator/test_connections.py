"""KafkaConnection on a real API server, a real Kafka and a real registry, and what refers to it."""

from collections.abc import Callable

from tests.parts.home import HOST, free_port
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorShop

CONNECTION, TOPIC = "KafkaConnection", "EventTopic"

Start = Callable[..., Operator]


def test_a_connection_that_is_changed_and_deleted_is_told_by_all_that_refer_to_it(
    shop: OperatorShop, start_operator: Start
) -> None:
    start_operator()
    shop.wait_for(CONNECTION, "kafka", "True", "Reachable")
    cluster_id = shop.status(CONNECTION, "kafka")["clusterID"]
    shop.topic()
    shop.wait_for(TOPIC, "orders", "True", "InSync")

    shop.connect(bootstrapServers=[f"{HOST}:{free_port()}"])
    shop.wait_for(CONNECTION, "kafka", "False", "KafkaUnreachable")
    shop.topic("later")
    shop.wait_for(TOPIC, "later", "Unknown", "KafkaUnreachable")
    shop.connect()
    shop.wait_for(CONNECTION, "kafka", "True", "Reachable")
    shop.wait_for(TOPIC, "later", "True", "InSync")
    assert shop.status(CONNECTION, "kafka")["clusterID"] == cluster_id

    shop.namespace.kubectl("delete", "kafkaconnection", "kafka", "--timeout=30s")
    for name in ("orders", "later"):
        shop.wait_for(TOPIC, name, "Unknown", "ConnectionNotFound")
    assert (shop.partitions("orders"), shop.partitions("later")) == (3, 3)
    shop.connect()
    for name in ("orders", "later"):
        shop.wait_for(TOPIC, name, "True", "InSync")


def test_a_secret_that_somebody_spoils_or_deletes_is_told_until_it_is_put_right(
    shop: OperatorShop, start_operator: Start
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "admin"}}
    shop.namespace.apply(secret)
    shop.connect(secretRef={"name": "admin"})
    start_operator()
    shop.wait_for(CONNECTION, "kafka", "True", "Reachable")

    # Who forces has the Secret read at once: else one that was read is believed for half a minute.
    shop.namespace.apply({**secret, "stringData": {"ca.crt": "no certificate"}})
    shop.annotate(CONNECTION, "kafka", force="spoiled")
    shop.wait_for(CONNECTION, "kafka", "Unknown", "SecretUnusable")
    shop.namespace.kubectl("delete", "secret", "admin")
    shop.annotate(CONNECTION, "kafka", force="deleted")
    shop.wait_for(CONNECTION, "kafka", "Unknown", "SecretNotFound")

    shop.namespace.apply(secret)
    shop.annotate(CONNECTION, "kafka", force="put right")
    shop.wait_for(CONNECTION, "kafka", "True", "Reachable")


def test_two_connections_to_one_cluster_do_not_make_two_owners_of_a_topic(
    shop: OperatorShop, start_operator: Start
) -> None:
    start_operator()
    shop.apply(CONNECTION, "again", bootstrapServers=shop.servers)
    for name in ("kafka", "again"):
        shop.wait_for(CONNECTION, name, "True", "Reachable")
    shop.topic("first", topicName=shop.topic_name())
    shop.wait_for(TOPIC, "first", "True", "InSync")

    shop.topic("second", topicName=shop.topic_name(), connectionRef={"name": "again"}, partitions=5, keyed=False)

    shop.wait_for(TOPIC, "second", "False", "ResourceConflict")
    assert shop.partitions() == 3
