"""Kafka over SASL_SSL with ACLs: what works there, and how each way of not being let in is told."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from services.embedded.verification.kafka_event_log import KafkaEventLog
from services.runtime.broker.kafka import KafkaBroker
from services.runtime.broker.port import Message, ReceivedMessage
from services.runtime.errors import NotFoundError, TradeFlowError, UnavailableError
from tests.parts.certificates import Authority
from tests.parts.kafka_topics import make_topics
from tests.parts.kafka_users import add_user, allow
from tests.parts.plugin import run_of
from tests.parts.server import Server
from tests.support.waiting import eventually

pytestmark = [pytest.mark.part("kafka"), pytest.mark.timeout(300)]

TOPIC, FORBIDDEN = "things", "secrets"

PASSWORD = "first-secret"


@pytest.fixture(scope="module")
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """One server for all: whoever is not let in leaves no trace on it."""
    server: Server = run_of(request.config).private("kafka", ("--sasl", "--tls"))
    yield server.start()
    server.wipe()


@pytest.fixture
def admin_url(server_url: str) -> str:
    """Name an installation of the test's own, as the super-user."""
    return f"{server_url}&topic_prefix={uuid4().hex[:12]}."


@pytest.fixture
def url(admin_url: str) -> str:
    """Name it as a service's user, who may do what services do on one of two topics."""
    prefix = admin_url.rpartition("=")[2]
    make_topics(admin_url, [TOPIC, FORBIDDEN])
    name = f"shop-{prefix.strip('.')}"
    user_url = add_user(admin_url, name, PASSWORD)
    allow(admin_url, name, "READ", "WRITE", "DESCRIBE", prefix=f"{prefix}{TOPIC}")
    allow(admin_url, name, "READ", on="group", prefix=f"{prefix}allowed")
    return user_url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[KafkaBroker]:
    broker = KafkaBroker(url, delivery_seconds_max=5)
    try:
        yield broker
    finally:
        await broker.close()


def a_message(value: str = "a", topic: str = TOPIC) -> Message:
    return Message(topic=topic, key=b"k", value=value.encode(), headers={"event-id": "1"})


async def first_error(broker: KafkaBroker, *, group: str = "allowed", topic: str = TOPIC) -> TradeFlowError:
    """Poll until an error comes in place of messages."""
    consumer = broker.group_consumer(group=group, topics=[topic])
    errors: list[TradeFlowError] = []

    async def refused() -> bool:
        try:
            await consumer.poll(messages_max=1, timeout_seconds=1)
        except TradeFlowError as error:
            errors.append(error)
        return bool(errors)

    await eventually(refused, seconds_max=60)
    return errors[0]


async def test_a_user_with_rights_does_all_that_services_do(url: str) -> None:
    async with opened(url) as broker:
        await broker.ensure_topics([TOPIC])
        tail = await broker.tailing_consumer(topics=[TOPIC])
        consumer = broker.group_consumer(group="allowed", topics=[TOPIC])
        await broker.producer().publish([a_message("a"), a_message("b")])

        received: list[ReceivedMessage] = []
        while len(received) < 2:
            received += await consumer.poll(messages_max=2, timeout_seconds=1)
        await consumer.commit(received[:1])
        lag = await consumer.lag()
        tailed: list[ReceivedMessage] = []
        while len(tailed) < 2:
            tailed += await tail.poll(messages_max=2, timeout_seconds=1)
        replay = await broker.replaying_consumer(topics=[TOPIC])

        assert [message.value for message in received] == [message.value for message in tailed] == [b"a", b"b"]
        assert lag == {(TOPIC, 0): 1}
        assert await replay.lag() == {(TOPIC, 0): 2}


async def assert_not_let_in(url: str, reason: str) -> None:
    """Each way in tells the same reason, and asks for another attempt: what is wrong may be mended meanwhile."""
    async with opened(url) as broker:
        with pytest.raises(UnavailableError) as at_start:
            await broker.ensure_topics([TOPIC])
        with pytest.raises(UnavailableError) as publishing:
            await broker.producer().publish([a_message()])
        polling = await first_error(broker)

    assert (at_start.value.reason, publishing.value.reason, polling.reason) == (reason, reason, reason)
    assert PASSWORD not in at_start.value.message


async def test_a_wrong_password_is_told_from_an_outage(url: str) -> None:
    await assert_not_let_in(url.replace(PASSWORD, "another"), "broker_unauthenticated")


async def test_an_untrusted_certificate_is_told_from_an_outage(url: str, tmp_path: Path) -> None:
    ca_file = url.partition("ca_file=")[2].partition("&")[0]

    await assert_not_let_in(url.replace(ca_file, str(Authority(tmp_path).ca_file)), "broker_untrusted")


async def test_a_missing_right_on_a_topic_is_told_from_a_missing_topic(url: str) -> None:
    async with opened(url) as broker:
        with pytest.raises(UnavailableError, match=FORBIDDEN) as at_start:
            await broker.ensure_topics([TOPIC, FORBIDDEN])
        with pytest.raises(UnavailableError, match=FORBIDDEN) as publishing:
            await broker.producer().publish([a_message(topic=FORBIDDEN)])
        polling = await first_error(broker, topic=FORBIDDEN)
        with pytest.raises(NotFoundError, match="things-missing") as missing:
            await broker.ensure_topics([TOPIC, "things-missing"])

    forbidden = "broker_forbidden"
    assert (at_start.value.reason, publishing.value.reason, polling.reason) == (forbidden, forbidden, forbidden)
    assert missing.value.reason == "topic_missing"


async def test_a_missing_right_on_a_group_names_the_group(url: str) -> None:
    async with opened(url) as broker:
        error = await first_error(broker, group="strangers")

    assert error.reason == "broker_forbidden"
    assert "strangers" in error.message


async def test_a_verification_needs_no_right_on_a_group(url: str) -> None:
    async with opened(url) as broker:
        await broker.producer().publish([a_message("a"), a_message("b")])
    log = KafkaEventLog(url)

    read = [message.value async for message in log.messages(TOPIC)]

    await log.close()
    assert sorted(read) == [b"a", b"b"]


async def test_a_right_that_comes_later_is_enough(url: str, admin_url: str) -> None:
    name = url.partition("//")[2].partition(":")[0]
    prefix = admin_url.rpartition("=")[2]
    async with opened(url) as broker:
        with pytest.raises(UnavailableError):
            await broker.producer().publish([a_message(topic=FORBIDDEN)])
        allow(admin_url, name, "WRITE", "DESCRIBE", prefix=f"{prefix}{FORBIDDEN}")

        async def published() -> bool:
            try:
                await broker.producer().publish([a_message(topic=FORBIDDEN)])
            except UnavailableError:
                return False
            return True

        await eventually(published, seconds_max=60)
