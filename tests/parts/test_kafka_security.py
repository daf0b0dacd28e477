"""A Kafka that asks who is there: users, rights and certificates."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services.runtime.broker.kafka import KafkaBroker
from services.runtime.broker.kafka_url import cluster_of
from services.runtime.broker.port import Message
from services.runtime.errors import TradeFlowError
from tests.parts.certificates import Authority
from tests.parts.kafka_topics import make_topics
from tests.parts.kafka_users import add_user, allow
from tests.parts.server import Server

pytestmark = [pytest.mark.part("kafka"), pytest.mark.timeout(300)]

MakeServer = Callable[..., Server]


def is_let_in(url: str) -> bool:
    """Tell whether a client gets to see the cluster."""
    client = AdminClient({**cluster_of(url).config, "log_level": 0})
    try:
        client.list_topics(timeout=3)
    except KafkaException:
        return False
    return True


async def publish(url: str, topic: str) -> None:
    broker = KafkaBroker(url)
    try:
        await broker.producer().publish([Message(topic=topic, key=b"k", value=b"v", headers={})])
    finally:
        await broker.close()


async def test_users_sign_in_and_do_only_what_they_may(private_server: MakeServer, tmp_path: Path) -> None:
    admin_url = private_server("kafka", ("--sasl", "--tls")).start()
    make_topics(admin_url, ["allowed.a", "other"])
    user_url = add_user(admin_url, "shop", "first-secret")
    allow(admin_url, "shop", "WRITE", "DESCRIBE", prefix="allowed.")

    await publish(user_url, "allowed.a")
    with pytest.raises(TradeFlowError):
        await publish(user_url, "other")

    (ca_file,) = parse_qs(urlsplit(user_url).query)["ca_file"]
    assert not is_let_in(user_url.replace("first-secret", "another"))
    assert not is_let_in(user_url.replace("shop:first-secret@", ""))
    assert not is_let_in(user_url.replace("tls=true", "tls=false"))
    assert not is_let_in(user_url.replace(ca_file, str(Authority(tmp_path).ca_file)))


async def test_a_client_without_a_certificate_is_refused_where_one_is_asked_for(
    private_server: MakeServer, tmp_path: Path
) -> None:
    url = private_server("kafka", ("--mutual-tls",)).start()
    (key_file,) = parse_qs(urlsplit(url).query)["key_file"]
    (certificate_file,) = parse_qs(urlsplit(url).query)["certificate_file"]
    stranger = Authority(tmp_path).issue("client")

    assert is_let_in(url)
    assert not is_let_in(url.partition("&certificate_file")[0])
    assert not is_let_in(
        url.replace(key_file, str(stranger.key_file)).replace(certificate_file, str(stranger.certificate_file))
    )
