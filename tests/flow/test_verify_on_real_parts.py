"""`tradeflow verify` on two databases and Kafka: content with what the platform left, and it finds what was changed."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from services.embedded.book_source import DEFAULT_BOOK, BookSource
from services.embedded.verification.deployment import Deployment, verify_deployment
from services.embedded.verification.kafka_event_log import KafkaEventLog
from services.ledger.outbound.wallet_event_encoding import WALLET_EVENTS_TOPIC
from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC
from services.runtime.broker.kafka_url import cluster_of
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, ReceivedMessage
from tests.parts.sql_servers import administrator
from tests.support.part_urls import PartUrls
from tests.support.platform import run_command
from tests.support.public_shop import public_shop, until_state
from tests.support.real_parts import RealParts, make_platform_topics
from tests.support.real_platform import running_real_platform
from tests.support.verifying import VERIFY_SECONDS_MAX, verify, verify_words

pytestmark = pytest.mark.timeout(600)  # the first test starts all servers; a minute beside others

FLUSH_SECONDS_MAX = 20.0
"""A few messages take milliseconds."""

Messages = list[ReceivedMessage]
Log = dict[str, Messages]


@pytest.fixture(scope="module")
def traded(shared_parts: RealParts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartUrls]:
    """What a platform left that settled and refunded some orders, and was stopped."""
    with running_real_platform(shared_parts, tmp_path_factory.mktemp("platform") / "data") as platform:
        asyncio.run(_trade(platform.gateway_url, platform.data))
        platform.services.stop_all()
        yield platform.urls


async def _trade(gateway_url: str, data: Path) -> None:
    async with public_shop(gateway_url, data) as shop:
        buyer, seller = await shop.person(funds_minor=9_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000)
        orders = [await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED") for _ in range(3)]
        await seller.client.refund(orders[0].order_id, {1: 1})


async def violated(urls: PartUrls) -> set[int]:
    """Verify in this process, and tell the numbers of the invariants that don't hold."""
    deployment = Deployment(
        book=BookSource(database_url=urls.ledger_database, book_id=DEFAULT_BOOK, keys_folder=None),
        orders_url=urls.orders_database,
        broker_url=urls.broker,
        is_running=False,
    )
    return {one.number for one in await verify_deployment(deployment) if not one.holds}


@contextmanager
def changed(database_url: str, change: str, undo: str) -> Iterator[None]:
    """Change a database past its service while the body runs."""
    with closing(administrator(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(change)
        yield
        cursor.execute(undo)


async def copied_log(urls: PartUrls, change: Callable[[Log], None]) -> PartUrls:
    """Publish what is in the topics again under another prefix, with a change."""
    source, messages = KafkaEventLog(urls.broker), dict[str, Messages]()
    for topic in (ORDER_EVENTS_TOPIC, WALLET_EVENTS_TOPIC):
        messages[topic] = [message async for message in source.messages(topic)]
    await source.close()
    change(messages)
    broker = f"{urls.broker.partition('?')[0]}?topic_prefix={uuid4().hex[:12]}."
    await asyncio.to_thread(_publish, broker, messages)
    return replace(urls, broker=broker)


def _publish(broker_url: str, messages: Mapping[str, Messages]) -> None:
    make_platform_topics(broker_url)
    cluster = cluster_of(broker_url)
    producer = Producer({**cluster.config})
    for topic, of_topic in messages.items():
        for message in of_topic:
            producer.produce(
                cluster.full(topic),
                message.value,
                message.key,
                partition=message.partition,
                headers=dict(message.headers),
            )
    assert producer.flush(FLUSH_SECONDS_MAX) == 0


def a_buyers_place(messages: Messages) -> int:
    """Find the first of several messages of one key."""
    keys = [message.key for message in messages]
    return next(place for place, key in enumerate(keys) if keys.count(key) > 1)


def test_the_command_checks_every_invariant_of_what_a_platform_left(traded: PartUrls) -> None:
    checked = verify(traded)

    assert all(any(letter in "123456789" for letter in str(one["looked_at"])) for one in checked), "an empty check"
    events = next(str(one["looked_at"]) for one in checked if one["number"] == 6)
    assert events.startswith("3 order-events and ")
    assert events.endswith(" 0 to publish, 0 to consume")


def test_the_command_ends_with_1_when_an_order_says_what_the_ledger_does_not(traded: PartUrls) -> None:
    with changed(traded.orders_database, "UPDATE orders SET total_minor = 2001, captured_minor = 2001", REPAIR):
        ended = run_command(*verify_words(traded), seconds_max=VERIFY_SECONDS_MAX)

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "with 2001 captured, and the ledger captured 2000" in ended.stdout


REPAIR = "UPDATE orders SET total_minor = 2000, captured_minor = 2000"


async def test_a_changed_posting_is_found(traded: PartUrls) -> None:
    with changed(
        traded.ledger_database,
        "UPDATE postings SET amount = amount + 1 WHERE account_sequence = 2",
        "UPDATE postings SET amount = amount - 1 WHERE account_sequence = 2",
    ):
        assert {1, 7} <= await violated(traded)


async def test_an_amount_that_can_have_a_fraction_is_found(traded: PartUrls) -> None:
    with changed(
        traded.orders_database,
        "ALTER TABLE products MODIFY price_minor DOUBLE NOT NULL",
        "ALTER TABLE products MODIFY price_minor BIGINT NOT NULL",
    ):
        assert await violated(traded) == {9}


async def test_a_number_beyond_what_every_reader_can_hold_is_found(traded: PartUrls) -> None:
    with changed(
        traded.orders_database,
        "UPDATE products SET price_minor = 9007199254740992",
        "UPDATE products SET price_minor = 1000",
    ):
        assert await violated(traded) == {9}


async def test_an_event_that_never_reached_kafka_is_found(traded: PartUrls) -> None:
    def lose(log: Log) -> None:
        del log[WALLET_EVENTS_TOPIC][3]

    assert await violated(await copied_log(traded, lose)) == {6}


async def test_an_event_that_was_changed_in_kafka_is_found(traded: PartUrls) -> None:
    def alter(log: Log) -> None:
        order_events = log[ORDER_EVENTS_TOPIC]
        order_events[1] = replace(order_events[1], value=order_events[1].value + b"\0")

    assert await violated(await copied_log(traded, alter)) == {6}


async def test_events_of_one_key_in_another_order_are_found(traded: PartUrls) -> None:
    def swap(log: Log) -> None:
        events = log[WALLET_EVENTS_TOPIC]
        first = a_buyers_place(events)
        second = next(place for place in range(first + 1, len(events)) if events[place].key == events[first].key)
        events[first], events[second] = events[second], events[first]

    assert await violated(await copied_log(traded, swap)) == {6}


async def test_repeated_events_are_no_violation(traded: PartUrls) -> None:
    def repeat(log: Log) -> None:
        for events in log.values():
            events[2:2] = events[:2]

    assert await violated(await copied_log(traded, repeat)) == set()


async def test_a_dead_letter_in_kafka_is_a_violation(traded: PartUrls) -> None:
    def bury(log: Log) -> None:
        letter = replace(log[WALLET_EVENTS_TOPIC][0], partition=0)
        log[f"{WALLET_EVENTS_TOPIC}{DEAD_LETTERS_SUFFIX}"] = [letter]

    assert await violated(await copied_log(traded, bury)) == {6}
