"""What every database does with writes that wait for the commit, with many rows, and with several questions at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import pytest

from services.runtime.database.port import Database, DuplicateKeyError, Query, Row, ValueMissingError
from services.runtime.database_opening import open_database

CREATE = """
    CREATE TABLE entries (
        id UUID NOT NULL PRIMARY KEY,
        book_id INTEGER NOT NULL,
        amount BIGINT,
        hash BINARY(32) NOT NULL,
        salt BINARY(16),
        key_bytes VARBINARY(64),
        note VARCHAR(64),
        payload BLOB,
        flag BOOLEAN,
        CHECK (amount < 1000000000000)
    )
"""
COLUMNS = "id, book_id, amount, hash, salt, key_bytes, note, payload, flag"
INSERT = f"INSERT INTO entries ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"  # noqa: S608 - constants only
UPSERT = f"{INSERT} ON CONFLICT (id) DO UPDATE SET amount = EXCLUDED.amount, note = EXCLUDED.note"
UPDATE = """
    UPDATE entries SET book_id = $2, amount = $3, hash = $4, salt = $5, key_bytes = $6, note = $7, payload = $8,
        flag = $9
    WHERE id = $1
"""
READ = f"SELECT {COLUMNS} FROM entries ORDER BY id"  # noqa: S608 - constants only


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    async with database.transaction() as connection:
        await connection.execute(CREATE)
        await connection.execute("CREATE UNIQUE INDEX entries_by_key ON entries (key_bytes)")
    yield database
    await database.close()


async def stored(database: Database) -> list[Row]:
    async with database.snapshot() as connection:
        return sorted(await connection.fetch(READ))


def an_entry(number: int = 0, **changed: object) -> tuple[object, ...]:
    row: dict[str, object] = {
        "id": UUID(int=number + 1),
        "book_id": 1,
        "amount": number,
        "hash": b"\\'" * 16,
        "salt": bytes(16),
        "key_bytes": b"key-%d" % number,
        "note": "it's \\ 100 % “ü” $1 -- ; /*",
        "payload": b"",
        "flag": True,
    }
    return tuple((row | changed).values())


def entries_of_all_kinds(count: int, generator: random.Random) -> list[tuple[object, ...]]:
    """Rows with every byte, every length and every gap."""

    def sometimes(value: object) -> object:
        return value if generator.random() < 0.7 else None

    return [
        (
            UUID(bytes=generator.randbytes(16)),
            1,
            sometimes(generator.choice([0, -1, 7, -(10**11), 10**11, generator.randrange(10**9)])),
            generator.randbytes(32),
            sometimes(generator.randbytes(16)),
            sometimes(b"%d" % number + generator.randbytes(generator.randrange(40))),
            sometimes("".join(generator.choices("aüß漢🙂'\\\"%\0\n;", k=generator.randrange(20)))),
            sometimes(generator.randbytes(generator.choice([0, 1, 300, 5_000]))),
            sometimes(generator.random() < 0.5),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [1, 31, 32, 300, 2_500])
async def test_rows_of_all_kinds_are_stored_as_they_are(database: Database, count: int) -> None:
    rows = entries_of_all_kinds(count, random.Random(count))  # noqa: S311 - the same rows every time

    async with database.transaction() as connection:
        await connection.execute_many(INSERT, rows)

    assert await stored(database) == sorted(rows, key=lambda row: str(row[0]))


@pytest.mark.parametrize("count", [1, 31, 32, 300, 2_500])
async def test_many_rows_are_changed_by_their_keys_and_no_others(database: Database, count: int) -> None:
    generator = random.Random(count)  # noqa: S311 - the same rows every time
    before, others = entries_of_all_kinds(count, generator), [an_entry(number) for number in range(50)]
    after = [(row[0], *other[1:]) for row, other in zip(before, entries_of_all_kinds(count, generator), strict=True)]

    async with database.transaction() as connection:
        await connection.execute_many(INSERT, [*before, *others])
    async with database.transaction() as connection:
        await connection.write_at_commit(UPDATE, after)

    assert await stored(database) == sorted([*after, *others], key=lambda row: str(row[0]))


async def test_numbers_are_keys_too(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            "CREATE TABLE sums (book_id INTEGER NOT NULL, id BIGINT NOT NULL, sum BIGINT NOT NULL, "
            "PRIMARY KEY (book_id, id))"
        )
        await connection.execute_many(
            "INSERT INTO sums (book_id, id, sum) VALUES ($1, $2, $3)",
            [(book, number, 0) for book in (1, 2) for number in range(-50, 50)],
        )
    async with database.transaction() as connection:
        await connection.write_at_commit(
            "UPDATE sums SET sum = $3 WHERE book_id = $1 AND id = $2",
            [(1, number, number) for number in range(-50, 40)],
        )

    async with database.snapshot() as snapshot:
        rows = await snapshot.fetch("SELECT book_id, id, sum FROM sums ORDER BY book_id, id")
    assert rows == [
        (book, number, number if book == 1 and number < 40 else 0) for book in (1, 2) for number in range(-50, 50)
    ]


@pytest.mark.parametrize("count", [1, 40])
async def test_what_waits_for_the_commit_is_there_after_it_and_not_before(database: Database, count: int) -> None:
    rows = [an_entry(number) for number in range(count)]

    async with database.transaction() as connection:
        await connection.write_at_commit(INSERT, iter(rows))
        before = await asyncio.create_task(stored(database))

    assert before == []
    assert await stored(database) == rows


async def test_what_waits_is_undone_with_the_transaction(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.write_at_commit(INSERT, [an_entry()])
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert await stored(database) == []


async def test_a_statement_sees_what_was_to_wait(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.write_at_commit(INSERT, [an_entry(1), an_entry(2)])
        seen = await connection.fetch("SELECT amount FROM entries ORDER BY amount")
        await connection.write_at_commit("UPDATE entries SET amount = $2 WHERE id = $1", [(UUID(int=2), 7)])
        changed = await connection.execute("UPDATE entries SET amount = amount + 1 WHERE amount = $1", 7)
        await connection.write_at_commit("DELETE FROM entries WHERE id = $1", [(UUID(int=3),)])

    assert seen == [(1,), (2,)]
    assert changed == 1
    assert [row[2] for row in await stored(database)] == [8]


async def test_what_waits_is_written_in_its_order(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.write_at_commit(UPSERT, [an_entry(amount=1), an_entry(amount=2)])
        await connection.write_at_commit("UPDATE entries SET amount = amount + $1", [(10,)])
        await connection.write_at_commit(UPSERT, [an_entry(amount=3, note="last")])
        await connection.write_at_commit("UPDATE entries SET amount = amount + $1", [(100,), (1_000,)])

    ((_, _, amount, _, _, _, note, _, _),) = await stored(database)
    assert (amount, note) == (1_103, "last")


async def test_more_than_a_packet_waits_too(database: Database) -> None:
    rows = [an_entry(number, payload=bytes(64_000)) for number in range(1_200)]

    async with database.transaction() as connection:
        await connection.write_at_commit(INSERT, rows)
        await connection.write_at_commit("UPDATE entries SET amount = $1", [(5,)])

    async with database.snapshot() as connection:
        counts = await connection.fetch("SELECT COUNT(*), SUM(LENGTH(payload)), SUM(amount) FROM entries")
    assert counts == [(1_200, 1_200 * 64_000, 6_000)]


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("written_before", [False, True])
async def test_a_key_that_exists_comes_out_as_such_and_nothing_is_left(
    database: Database, count: int, *, written_before: bool
) -> None:
    async def write(rows: Sequence[Sequence[object]]) -> None:
        async with database.transaction() as connection:
            if written_before:
                await connection.execute(INSERT, *an_entry(900))
            await connection.write_at_commit(INSERT, rows)
            await connection.write_at_commit(INSERT, [an_entry(901)])

    async with database.transaction() as connection:
        await connection.execute(INSERT, *an_entry(0))

    with pytest.raises(DuplicateKeyError):
        await write([an_entry(number) for number in range(count)])

    assert await stored(database) == [an_entry(0)]


@pytest.mark.parametrize("count", [1, 3, 4, 50])
async def test_a_value_that_must_not_be_missing_comes_out_as_such_and_nothing_is_left(
    database: Database, count: int
) -> None:
    async def take_books_away() -> None:
        async with database.transaction() as connection:
            await connection.write_at_commit(INSERT, [an_entry(900)])
            changed = [(entry[0], None) for entry in before]
            await connection.write_at_commit("UPDATE entries SET book_id = $2 WHERE id = $1", changed)

    before = [an_entry(number) for number in range(count)]
    async with database.transaction() as connection:
        await connection.execute_many(INSERT, before)

    with pytest.raises(ValueMissingError):
        await take_books_away()

    assert await stored(database) == before


async def test_the_first_write_is_told_of_while_those_behind_it_wait(database: Database) -> None:
    told = asyncio.Event()
    async with database.transaction() as connection:
        await connection.execute(INSERT, *an_entry(0))

    async def write_behind() -> None:
        await told.wait()
        async with database.transaction() as connection:
            await connection.write_at_commit("UPDATE entries SET amount = 2, note = $1", [("behind",)])

    behind = asyncio.create_task(write_behind())
    async with database.transaction() as connection:
        connection.tell_first_write(told.set)
        await connection.write_at_commit("UPDATE entries SET amount = $1", [(1,)])
        await connection.write_at_commit(INSERT, [an_entry(number) for number in range(1, 400)])
    await behind

    assert {row[2:7:4] for row in await stored(database)} == {(2, "behind")}


@pytest.mark.parametrize("statement", ["execute", "execute_many"])
async def test_a_second_unique_key_counts_as_one(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, *an_entry(0))
        other = an_entry(1, key_bytes=b"key-0")
        run = connection.execute(INSERT, *other) if statement == "execute" else connection.execute_many(INSERT, [other])
        with pytest.raises(DuplicateKeyError):
            await run
        await connection.execute(INSERT, *an_entry(2))

    assert await stored(database) == [an_entry(0), an_entry(2)]


async def test_a_value_that_breaks_a_rule_is_no_duplicate(database: Database) -> None:
    async def write(row: Sequence[object]) -> None:
        async with database.transaction() as connection:
            await connection.write_at_commit(INSERT, [an_entry(2), row])

    with pytest.raises(Exception, match=r"(?i)check|constraint") as raised:
        await write(an_entry(1, amount=10**12))

    assert not isinstance(raised.value, DuplicateKeyError)
    assert await stored(database) == []


async def test_several_questions_are_answered_in_their_order(database: Database) -> None:
    ids = [UUID(int=number + 1) for number in range(2_500)]
    async with database.transaction() as connection:
        await connection.execute_many(INSERT, [an_entry(number) for number in range(2_500)])
        head, many, none, nobody, locked = await connection.fetch_together(
            [
                Query("SELECT amount FROM entries WHERE id = $1 FOR UPDATE", (ids[7],)),
                Query("SELECT id FROM entries WHERE book_id = $1 AND id IN ($in)", (1,), [*ids, *ids]),
                Query("SELECT id FROM entries WHERE id IN ($in)", (), []),
                Query("SELECT id FROM entries WHERE id IN ($in)", (), [uuid4()]),
                Query("SELECT COUNT(*) FROM entries"),
            ]
        )
        nothing = await connection.fetch_together([])

    assert head == [(7,)]
    assert sorted(row[0] for row in many) == ids
    assert (none, nobody, nothing) == ([], [], [])
    assert locked == [(2_500,)]


async def test_an_upsert_and_an_update_tell_rows_that_they_did_not_change(database: Database) -> None:
    async with database.transaction() as connection:
        counts = [
            await connection.execute(UPSERT, *an_entry(1)),
            await connection.execute(UPSERT, *an_entry(1)),
            await connection.execute(UPSERT, *an_entry(1, amount=5)),
            await connection.execute("UPDATE entries SET amount = 5"),
            await connection.execute("UPDATE entries SET amount = 5 WHERE amount = 6"),
        ]

    assert counts == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("count", [10_000, 100_000])
async def test_an_update_counts_its_rows_however_many_they_are(database: Database, count: int) -> None:
    async with database.transaction() as connection:
        await connection.execute("CREATE TABLE counts (id INTEGER NOT NULL PRIMARY KEY, count INTEGER NOT NULL)")
        await connection.execute_many(
            "INSERT INTO counts (id, count) VALUES ($1, $2)", [(number, 0) for number in range(count)]
        )
        changed = await connection.execute("UPDATE counts SET count = count + $1", 1)

    assert changed == count


async def test_texts_that_differ_by_case_or_a_blank_differ(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("CREATE TABLE names (name VARCHAR(16) NOT NULL PRIMARY KEY)")
        await connection.execute_many("INSERT INTO names (name) VALUES ($1)", [("a",), ("A",), ("a ",), ("ä",)])

        found = await connection.fetch("SELECT name FROM names WHERE name = $1", "a")

    assert found == [("a",)]
