"""What the inbox does on every database: an event takes effect once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

import pytest

from services.runtime.broker.port import ReceivedMessage
from services.runtime.database.port import Connection, Database, Row
from services.runtime.database_opening import open_database
from services.runtime.errors import InvalidArgumentError, UnavailableError
from services.runtime.ids import new_id
from services.runtime.inbox import only_new
from tests.support.plumbing_tables import create_plumbing_tables


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    await create_plumbing_tables(database)
    yield database
    await database.close()


def a_message(event_id: UUID | str | None = None, *, offset: int = 0) -> ReceivedMessage:
    return ReceivedMessage(
        topic="topic",
        key=b"key",
        value=b"",
        headers={"event-id": str(event_id or new_id())},
        partition=0,
        offset=offset,
    )


async def handle(database: Database, *messages: ReceivedMessage, consumer: str = "consumer") -> list[ReceivedMessage]:
    async with database.transaction() as connection:
        return await only_new(connection, consumer, messages)


async def test_new_messages_come_back_in_their_order(database: Database) -> None:
    messages = [a_message(offset=number) for number in range(1_000)]

    assert await handle(database, *messages) == messages


async def test_a_message_that_was_handled_does_not_come_back(database: Database) -> None:
    known, new = a_message(offset=1), a_message(offset=2)
    await handle(database, known)

    assert await handle(database, known, new, known) == [new]
    assert await handle(database, known, new) == []


async def test_an_event_that_stands_twice_in_a_batch_comes_back_once(database: Database) -> None:
    first = a_message(offset=1)
    again = a_message(first.headers["event-id"], offset=2)

    assert await handle(database, first, again) == [first]


async def test_what_was_rolled_back_was_not_handled(database: Database) -> None:
    message = a_message()

    async def fail() -> None:
        async with database.transaction() as connection:
            await only_new(connection, "consumer", [message])
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert await handle(database, message) == [message]


async def test_consumers_do_not_know_of_each_other(database: Database) -> None:
    message = a_message()
    await handle(database, message, consumer="one")

    assert await handle(database, message, consumer="two") == [message]


async def test_of_two_who_handle_an_event_at_once_one_gets_it(database: Database) -> None:
    message = a_message()

    results = await asyncio.gather(*(handle(database, message) for _ in range(5)), return_exceptions=True)

    assert [result for result in results if result == [message]] == [[message]]


class Overtaken:
    """A connection whose look into the inbox comes right before another consumer's commit."""

    def __init__(self, connection: Connection, overtake: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self.execute_many = connection.execute_many
        self._fetch_in = connection.fetch_in
        self._overtake = overtake

    async def fetch_in(self, sql: str, in_: Sequence[object], *arguments: object) -> list[Row]:
        rows = await self._fetch_in(sql, in_, *arguments)
        await asyncio.create_task(self._overtake())
        return rows


@pytest.mark.parametrize(
    "engine_url", [pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")], indirect=True
)
async def test_who_is_overtaken_may_begin_again_and_then_knows(database: Database) -> None:
    """SQLite's writers exclude each other, so that nobody is overtaken there."""
    message = a_message()

    async def be_overtaken() -> None:
        async with database.transaction() as connection:
            overtaken: Any = Overtaken(connection, lambda: handle(database, message))
            await only_new(overtaken, "consumer", [message])

    with pytest.raises(UnavailableError) as raised:
        await be_overtaken()

    assert raised.value.reason == "event_just_handled"
    assert await handle(database, message) == []


async def test_no_messages_are_fine(database: Database) -> None:
    assert await handle(database) == []


@pytest.mark.parametrize("headers", [{}, {"event-id": "not a UUID"}])
async def test_a_message_without_an_event_id_is_refused(database: Database, headers: dict[str, str]) -> None:
    message = ReceivedMessage(topic="topic", key=b"", value=b"", headers=headers, partition=0, offset=7)

    with pytest.raises(InvalidArgumentError, match="message 7 of topic") as raised:
        await handle(database, message)

    assert raised.value.reason == "event_id_missing"
