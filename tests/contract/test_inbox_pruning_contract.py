"""Old events go out of the inbox, step by step, on every database."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.runtime.broker.port import ReceivedMessage
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.ids import new_id
from services.runtime.inbox import only_new
from services.runtime.inbox_pruning import READ_OLDEST, InboxPruner
from services.runtime.step_size import StepSize
from tests.support.clock import START, VirtualClock
from tests.support.faulty_database import FaultyDatabase
from tests.support.plumbing_tables import create_plumbing_tables

LATER = START + timedelta(seconds=30)
"""What comes at the start is older, and what comes a minute after it isn't."""


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    await create_plumbing_tables(database)
    yield database
    await database.close()


def a_message() -> ReceivedMessage:
    headers = {"event-id": str(new_id())}
    return ReceivedMessage(topic="topic", key=b"key", value=b"", headers=headers, partition=0, offset=1)


async def handle(
    database: Database, *messages: ReceivedMessage, consumer: str = "consumer", after_seconds: float = 0
) -> list[ReceivedMessage]:
    clock = VirtualClock()
    await clock.advance(after_seconds)
    async with database.transaction() as connection:
        return await only_new(connection, consumer, messages, clock=clock)


async def pruned(pruner: InboxPruner) -> list[int]:
    """Prune until nothing is old, and tell the steps."""
    steps = []
    while step := await pruner.step(received_before=LATER):
        steps.append(step)
    return steps


async def test_only_what_was_handled_long_ago_is_forgotten(database: Database) -> None:
    old, new, foreign = a_message(), a_message(), a_message()
    await handle(database, old, *(a_message() for _ in range(1_200)))
    await handle(database, foreign, consumer="another")
    await handle(database, new, after_seconds=60)

    assert sum(await pruned(InboxPruner(database, "consumer"))) == 1_201
    assert await handle(database, old, new, after_seconds=60) == [old]
    assert await handle(database, foreign, consumer="another") == []


async def test_a_step_is_bounded_also_among_events_of_one_instant(database: Database) -> None:
    for second in range(3):
        await handle(database, *(a_message() for _ in range(50)), after_seconds=second)

    steps = await pruned(InboxPruner(database, "consumer", StepSize(rows_max=40, seconds_max=60)))

    assert sum(steps) == 150
    assert max(steps) == 40


async def test_of_two_who_prune_none_stumbles_over_the_other(database: Database) -> None:
    await handle(database, *(a_message() for _ in range(100)))
    first, second = InboxPruner(database, "consumer"), InboxPruner(database, "consumer")

    await first.step(received_before=LATER)
    await pruned(second)

    assert await pruned(first) == []


async def test_where_nothing_is_old_nothing_is_written(database: Database) -> None:
    await handle(database, a_message(), after_seconds=60)
    watched = FaultyDatabase(database)

    assert await pruned(InboxPruner(watched, "consumer")) == []

    assert (watched.snapshots, watched.transactions) == (1, 0)


async def test_what_is_young_is_not_walked_over(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/inbox.db")
    await create_plumbing_tables(database)
    async with database.snapshot() as connection:
        plan = await connection.fetch(f"EXPLAIN QUERY PLAN {READ_OLDEST}", b"consumer", 0, 1, 10)
    await database.close()

    steps = [row[-1] for row in plan]
    assert steps == ["SEARCH inbox USING INDEX inbox_by_age (consumer=? AND received_at>? AND received_at<?)"]
