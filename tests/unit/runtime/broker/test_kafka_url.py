"""A Kafka cluster by its URL."""

from pathlib import Path

import pytest

from services.runtime.broker.kafka_url import cluster_of
from services.runtime.errors import InvalidArgumentError


def test_hosts_alone_mean_neither_a_password_nor_tls() -> None:
    cluster = cluster_of("kafka://one:9092,two:9092")

    assert cluster.config == {
        "bootstrap.servers": "one:9092,two:9092",
        "security.protocol": "PLAINTEXT",
        "topic.metadata.refresh.interval.ms": 5_000,
    }
    assert (cluster.full("things"), cluster.short("things")) == ("things", "things")


def test_a_user_asks_for_scram() -> None:
    config = cluster_of("kafka://shop:p%40ss@one:9092").config

    assert config["security.protocol"] == "SASL_PLAINTEXT"
    assert (config["sasl.mechanism"], config["sasl.username"], config["sasl.password"]) == (
        "SCRAM-SHA-512",
        "shop",
        "p@ss",
    )


def test_tls_takes_its_files_and_goes_with_a_user() -> None:
    url = "kafka://shop@one:9093?tls=true&ca_file=/ca.pem&certificate_file=/c.pem&key_file=/k.pem&mechanism=PLAIN"
    config = cluster_of(url).config

    assert (config["security.protocol"], config["sasl.mechanism"]) == ("SASL_SSL", "PLAIN")
    assert config["ssl.ca.location"] == "/ca.pem"
    assert config["ssl.certificate.location"] == "/c.pem"
    assert config["ssl.key.location"] == "/k.pem"


def test_a_password_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")

    assert cluster_of(f"kafka://shop@one:9092?password_file={tmp_path}/password").config["sasl.password"] == "secret"


def test_a_prefix_begins_every_name_in_the_cluster() -> None:
    cluster = cluster_of("kafka://one:9092?topic_prefix=shop1.")

    assert cluster.full("things") == "shop1.things"
    assert cluster.short("shop1.things") == "things"


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka://user:hidden@",
        "kafka://user:hidden@one:9092/topic",
        "kafka://user:hidden@one:9092?tls=yes",
        "kafka://user:hidden@one:9092?colour=red",
        "kafka://user:hidden@one:9092?topic_prefix=a/b",
        "kafka://user@one:9092?password_file=/nowhere/hidden",
    ],
)
def test_a_malformed_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        cluster_of(url)

    assert raised.value.reason == "broker_url_malformed"
    assert "hidden" not in raised.value.message


def test_a_cluster_is_shown_without_its_password() -> None:
    assert "p@ss" not in repr(cluster_of("kafka://shop:p%40ss@one:9092"))
