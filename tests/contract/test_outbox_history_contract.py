"""Packs, and the history of a key that is read from them backwards, on every database."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.outbox import DamagedPackError, KeyHistory, OutboxEvent, read_by_key, read_packs
from services.runtime.outbox_packs import PACK_BYTES_MAX, PACK_EVENTS_MAX
from tests.support.outbox import STREAM, an_event, events_of, write
from tests.support.plumbing_tables import create_plumbing_tables


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    await create_plumbing_tables(database)
    yield database
    await database.close()


@dataclass(slots=True)
class Writer:
    """Numbers the events of each key and links them, as a service does by its state."""

    database: Database
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)
    position: int = 0

    async def write(self, keys: str) -> None:
        """Write an event for each key, all in one transaction."""
        await write(self.database, *[self._next(key) for key in keys])

    def _next(self, key: str) -> OutboxEvent:
        key_sequence, previous_position = self.newest.get(key, (0, 0))
        self.position += 1
        self.newest[key] = (key_sequence + 1, self.position)
        payload = f"{key}-{key_sequence + 1}"
        return an_event(payload, key=key, key_sequence=key_sequence + 1, previous_position=previous_position)

    async def history(self, key: str, *, after: int, events_max: int = 1_000) -> KeyHistory:
        """Read a key's events after a number."""
        async with self.database.snapshot() as connection:
            return await read_by_key(
                connection,
                STREAM,
                key.encode(),
                newest_position=self.newest.get(key, (0, 0))[1],
                after_key_sequence=after,
                events_max=events_max,
            )


@pytest.fixture
def writer(database: Database) -> Writer:
    return Writer(database)


def told(history: KeyHistory) -> list[str]:
    return [event.payload.decode() for event in history.events]


async def test_events_of_one_transaction_share_few_rows_and_keep_their_order_and_content(database: Database) -> None:
    events = [an_event(f"{n}", key=f"key-{n % 7}", key_sequence=n, previous_position=n * 3) for n in range(200)]

    await write(database, *events)

    async with database.snapshot() as connection:
        rows = await connection.fetch("SELECT first_sequence, sequence FROM outbox ORDER BY sequence")
    assert rows == [(1, 64), (65, 128), (129, 192), (193, 200)]
    assert await events_of(database, STREAM) == list(enumerate(events, start=1))


async def test_a_pack_is_bounded_in_bytes(database: Database) -> None:
    events = [an_event("x" * 2_000) for _ in range(PACK_EVENTS_MAX)] + [an_event("y" * (PACK_BYTES_MAX + 1))]

    await write(database, *events)

    async with database.snapshot() as connection:
        rows = await connection.fetch("SELECT first_sequence, sequence, payload FROM outbox ORDER BY sequence")
    assert [event for _, event in await events_of(database, STREAM)] == events
    assert all(len(payload) <= PACK_BYTES_MAX for _, _, payload in rows[:-1])
    assert rows[-1][0] == rows[-1][1] == len(events)


async def test_a_page_of_packs_holds_the_next_one_and_those_that_end_soon_after(database: Database) -> None:
    for count in (10, 1, 1, 1, 1):
        await write(database, *[an_event() for _ in range(count)])

    async with database.snapshot() as connection:
        first = await read_packs(connection, STREAM, after_sequence=0, events_max=3)
        second = await read_packs(connection, STREAM, after_sequence=first[-1].sequence, events_max=3)

    assert [(pack.first_sequence, pack.sequence) for pack in first] == [(1, 10), (11, 11), (12, 12)]
    assert [(pack.first_sequence, pack.sequence) for pack in second] == [(13, 13), (14, 14)]


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x90", b"\x91\x01"], ids=["empty", "nonsense", "none", "other"])
async def test_a_damaged_pack_is_told_and_not_skipped(database: Database, payload: bytes) -> None:
    await write(database, an_event())
    async with database.transaction() as connection:
        await connection.execute("UPDATE outbox SET payload = $1", payload)

    async with database.snapshot() as connection:
        with pytest.raises(DamagedPackError):
            await read_packs(connection, STREAM, after_sequence=0, events_max=1)


async def test_the_history_of_a_key_is_read_over_many_packs(writer: Writer) -> None:
    for keys in ("aab", "c", "ba", "cccc", "aba"):
        await writer.write(keys)

    history = await writer.history("a", after=1)

    assert told(history) == ["a-2", "a-3", "a-4", "a-5"]
    assert history.is_complete


async def test_a_reader_who_has_everything_gets_nothing_more(writer: Writer) -> None:
    await writer.write("aba")

    assert await writer.history("a", after=2) == KeyHistory(events=[], is_complete=True)
    assert await writer.history("nobody", after=0) == KeyHistory(events=[], is_complete=True)


async def test_the_history_of_a_key_reaches_back_to_its_first_event(writer: Writer) -> None:
    await writer.write("bab")
    await writer.write("a")

    history = await writer.history("a", after=0)

    assert (told(history), history.is_complete) == (["a-1", "a-2"], True)


async def test_a_history_whose_beginning_was_pruned_is_incomplete(writer: Writer) -> None:
    for keys in ("ab", "ba", "a"):
        await writer.write(keys)
    async with writer.database.transaction() as connection:
        await connection.execute("DELETE FROM outbox WHERE sequence <= 2")

    pruned = await writer.history("a", after=0)
    kept = await writer.history("a", after=1)

    assert (told(pruned), pruned.is_complete) == (["a-2", "a-3"], False)
    assert (told(kept), kept.is_complete) == (["a-2", "a-3"], True)


async def test_a_history_that_was_pruned_to_the_end_is_incomplete(writer: Writer) -> None:
    await writer.write("ab")
    async with writer.database.transaction() as connection:
        await connection.execute("DELETE FROM outbox")

    assert await writer.history("a", after=0) == KeyHistory(events=[], is_complete=False)


async def test_a_history_is_bounded(writer: Writer) -> None:
    await writer.write("a" * 150)

    just = await writer.history("a", after=50, events_max=100)
    beyond = await writer.history("a", after=49, events_max=100)

    assert (len(just.events), just.is_complete) == (100, True)
    assert (len(beyond.events), beyond.is_complete) == (100, False)


@pytest.mark.parametrize("link", [2, 99, 3], ids=["another's event", "no event", "an event before the last"])
async def test_a_link_that_leads_elsewhere_ends_the_history(writer: Writer, link: int) -> None:
    await writer.write("ab")
    await writer.write("aa")
    await write(writer.database, an_event("a-4", key="a", key_sequence=4, previous_position=link))
    writer.newest["a"] = (4, 5)

    history = await writer.history("a", after=0)

    assert (told(history), history.is_complete) == (["a-4"], False)
