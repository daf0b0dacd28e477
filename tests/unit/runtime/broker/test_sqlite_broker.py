"""What is the embedded broker's own, past the contract of all brokers."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.runtime.broker.port import LEASE_LOST_REASON, Message
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.broker.sqlite_consumers import SqliteConsumer
from services.runtime.clock import Clock
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError
from tests.support.clock import VirtualClock

REPOSITORY = Path(__file__).parents[4]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def broker(path: Path, clock: Clock) -> AsyncIterator[SqliteBroker]:
    broker = SqliteBroker(path, clock=clock, retention=None)
    await broker.ensure_topics(["things", "things.dlq"])
    yield broker
    await broker.close()


@pytest.fixture
async def second_broker(path: Path, clock: Clock, broker: SqliteBroker) -> AsyncIterator[SqliteBroker]:
    second = SqliteBroker(path, clock=clock, retention=None)
    yield second
    await second.close()


async def publish(broker: SqliteBroker, *values: str, topic: str = "things") -> None:
    await broker.producer().publish([Message(topic=topic, key=b"key", value=value.encode()) for value in values])


async def poll(consumer: SqliteConsumer, *, messages_max: int = 100) -> list[str]:
    messages = await consumer.poll(messages_max=messages_max, timeout_seconds=0)
    return [message.value.decode() for message in messages]


async def test_a_topic_that_was_not_made_is_named(broker: SqliteBroker) -> None:
    with pytest.raises(NotFoundError, match="'nothing'"):
        broker.group_consumer(group="g", topics=["nothing"])
    with pytest.raises(NotFoundError, match="'nothing'"):
        await broker.tailing_consumer(topics=["nothing"])
    with pytest.raises(NotFoundError, match="'nothing'"):
        await publish(broker, "a", topic="nothing")


@pytest.mark.parametrize("name", ["", 'x" (a); DROP TABLE topics; --', "ü", "a b", "x" * 250])
async def test_a_name_that_no_broker_would_take_is_refused(broker: SqliteBroker, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await broker.ensure_topics([name])


async def test_a_busy_topic_does_not_keep_another_waiting(broker: SqliteBroker) -> None:
    await broker.ensure_topics(["others"])
    await publish(broker, *(f"value-{number}" for number in range(1_000)))
    await publish(broker, "rare", topic="others")
    consumer = broker.group_consumer(group="g", topics=["things", "others"])

    assert "rare" in [*await poll(consumer, messages_max=10), *await poll(consumer, messages_max=10)]


async def test_a_consumer_that_keeps_living_keeps_its_topic(
    broker: SqliteBroker, second_broker: SqliteBroker, clock: VirtualClock
) -> None:
    await publish(broker, "a")
    first = broker.group_consumer(group="g", topics=["things"])
    second = second_broker.group_consumer(group="g", topics=["things"])
    assert await poll(first) == ["a"]

    for _ in range(20):
        await clock.advance(1)
        await asyncio.sleep(0.002)
        assert await poll(second) == []


async def test_a_consumer_that_stopped_polling_loses_its_topic(
    broker: SqliteBroker, second_broker: SqliteBroker, clock: VirtualClock
) -> None:
    await publish(broker, "a")
    first = broker.group_consumer(group="g", topics=["things"])
    second = second_broker.group_consumer(group="g", topics=["things"])
    assert await poll(first) == ["a"]

    for _ in range(320):
        await clock.advance(1)
        await asyncio.sleep(0)
    await clock.advance(10)

    assert await poll(second) == ["a"]


async def test_a_holder_that_was_paused_past_its_lease_moves_no_offset(path: Path, clock: VirtualClock) -> None:
    paused_clock = VirtualClock()
    paused = SqliteBroker(path, clock=paused_clock, retention=None)
    await paused.ensure_topics(["things"])
    await publish(paused, "a", "b")
    first = paused.group_consumer(group="g", topics=["things"])
    received = await first.poll(messages_max=1, timeout_seconds=0)
    await clock.advance(6)
    successor = SqliteBroker(path, clock=clock, retention=None)
    second = successor.group_consumer(group="g", topics=["things"])
    assert await poll(second) == ["a", "b"]

    with pytest.raises(UnavailableError) as raised:
        await first.commit(received)
    await paused_clock.advance(1)

    assert raised.value.reason == LEASE_LOST_REASON
    assert await poll(first) == []
    await second.close()
    assert await poll(first) == ["a", "b"]
    await paused.close()
    await successor.close()


async def test_a_lease_that_ran_out_and_that_nobody_took_goes_on_where_it_was(path: Path, clock: VirtualClock) -> None:
    broker = SqliteBroker(path, clock=clock, retention=None, lease_seconds=5)
    await broker.ensure_topics(["things"])
    await publish(broker, "a", "b")
    consumer = broker.group_consumer(group="g", topics=["things"])
    received = await consumer.poll(messages_max=1, timeout_seconds=0)
    clock._now += timedelta(seconds=60)

    assert await poll(consumer) == ["b"]
    await consumer.commit(received)
    await broker.close()


async def test_old_messages_are_deleted_once_all_groups_have_handled_them(
    broker: SqliteBroker, clock: VirtualClock
) -> None:
    await publish(broker, *(f"old-{number}" for number in range(2_500)))
    quick = broker.group_consumer(group="quick", topics=["things"])
    slow = broker.group_consumer(group="slow", topics=["things"])
    await quick.commit(await quick.poll(messages_max=5_000, timeout_seconds=0))
    await slow.commit(await slow.poll(messages_max=2_000, timeout_seconds=0))
    clock._now += timedelta(days=8)
    await publish(broker, "new")

    assert await broker.prune(older_than=timedelta(days=7)) == 2_000
    await slow.commit(await slow.poll(messages_max=5_000, timeout_seconds=0))
    assert await broker.prune(older_than=timedelta(days=7)) == 500
    assert await poll(broker.group_consumer(group="late", topics=["things"])) == ["new"]


async def test_offsets_are_not_given_twice_after_everything_was_deleted(
    broker: SqliteBroker, clock: VirtualClock
) -> None:
    await publish(broker, "a", "b")
    consumer = broker.group_consumer(group="g", topics=["things"])
    await consumer.commit(await consumer.poll(messages_max=5, timeout_seconds=0))
    await clock.advance(60)
    assert await broker.prune(older_than=timedelta(seconds=1)) == 2
    await consumer.close()
    await publish(broker, "c")

    assert await poll(broker.group_consumer(group="g", topics=["things"])) == ["c"]


async def test_dead_letters_are_kept(broker: SqliteBroker, clock: VirtualClock) -> None:
    await publish(broker, "poison", topic="things.dlq")
    clock._now += timedelta(days=365)

    assert await broker.prune(older_than=timedelta(days=7)) == 0


async def test_old_messages_are_deleted_without_anybody_asking(path: Path, clock: VirtualClock) -> None:
    broker = SqliteBroker(path, clock=clock, retention=timedelta(days=1))
    await broker.ensure_topics(["things"])
    await broker.tailing_consumer(topics=["things"])
    await publish(broker, "old")
    # At once: in steps, the leases' renewals would come by a hundred thousand times.
    clock._now += timedelta(days=2)
    give_up_at = time.monotonic() + 30
    while await broker._file.read("things", first_offset=0, messages_max=1):
        assert time.monotonic() < give_up_at
        await clock.advance(600)
        await asyncio.sleep(0.01)
    await broker.close()


CONSUMER = """
import asyncio, sys
from services.runtime.broker.sqlite import SqliteBroker

async def main():
    broker = SqliteBroker(sys.argv[1], lease_seconds=1)
    consumer = broker.group_consumer(group="g", topics=["things"])
    while True:
        for message in await consumer.poll(messages_max=1, timeout_seconds=1):
            print(message.value.decode(), flush=True)
            await consumer.commit([message])

asyncio.run(main())
"""

PUBLISHER = """
import asyncio, sys
from services.runtime.broker.port import Message
from services.runtime.broker.sqlite import SqliteBroker

async def main():
    broker = SqliteBroker(sys.argv[1])
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        await broker.producer().publish([Message(topic="things", key=b"key", value=str(number).encode())])
        print(number, flush=True)
    await broker.close()

asyncio.run(main())
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )


async def test_a_killed_consumer_is_followed_where_it_stopped(path: Path) -> None:
    broker = SqliteBroker(path, lease_seconds=1)
    await broker.ensure_topics(["things"])
    await publish(broker, *(str(number) for number in range(500)))
    victim = start(CONSUMER, str(path))
    assert victim.stdout is not None
    first_lines = [await asyncio.to_thread(victim.stdout.readline) for _ in range(50)]
    victim.send_signal(signal.SIGKILL)
    rest, _ = await asyncio.to_thread(victim.communicate)
    seen = [int(line) for line in [*first_lines, *rest.split()]]

    successor = broker.group_consumer(group="g", topics=["things"])
    followed = [int(message.value) for message in await successor.poll(messages_max=500, timeout_seconds=5)]
    await broker.close()

    assert seen == list(range(len(seen)))
    # The last one may not have been committed.
    assert followed[0] in (seen[-1], seen[-1] + 1)
    assert followed == list(range(followed[0], 500))


async def test_a_killed_publisher_leaves_what_it_was_told_is_durable(path: Path) -> None:
    broker = SqliteBroker(path)
    await broker.ensure_topics(["things"])
    consumer = await broker.tailing_consumer(topics=["things"])
    victim = start(PUBLISHER, str(path), "0", "1000000")
    assert victim.stdout is not None
    for _ in range(50):
        await asyncio.to_thread(victim.stdout.readline)
    victim.send_signal(signal.SIGKILL)
    rest, _ = await asyncio.to_thread(victim.communicate)
    told = int(rest.split()[-1]) if rest.split() else 49

    got: list[int] = []
    while messages := await consumer.poll(messages_max=500, timeout_seconds=0.2):
        got += [int(message.value) for message in messages]
    await broker.close()

    assert got == list(range(len(got)))
    assert len(got) >= told + 1


async def test_what_another_process_publishes_arrives_within_a_moment(path: Path) -> None:
    broker = SqliteBroker(path)
    await broker.ensure_topics(["things"])
    consumer = await broker.tailing_consumer(topics=["things"])
    publishers = [start(PUBLISHER, str(path), str(start_at), str(start_at + 50)) for start_at in (0, 50, 100)]

    got: list[int] = []
    give_up_at = time.monotonic() + 20
    while len(got) < 150:
        assert time.monotonic() < give_up_at
        got += [int(message.value) for message in await consumer.poll(messages_max=50, timeout_seconds=1)]
    for publisher in publishers:
        await asyncio.to_thread(publisher.communicate)
    await broker.close()

    assert sorted(got) == list(range(150))
    assert [number for number in got if number < 50] == list(range(50))
