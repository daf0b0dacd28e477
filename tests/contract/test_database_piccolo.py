"""What Piccolo's queries do on the engine of a `Database`."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from piccolo import columns
from piccolo.columns import BigInt, Boolean, Bytea, ForeignKey, Serial, Varchar
from piccolo.columns.defaults.uuid import UUID4
from piccolo.query.functions import Max, Sum
from piccolo.table import Table

from services.runtime.database.port import Database, DuplicateKeyError
from services.runtime.database_opening import open_database
from services.runtime.ids import new_id


class Thing(Table):
    id = columns.UUID(primary_key=True, default=UUID4())
    name = Varchar(64, unique=True)
    amount = BigInt()
    flag = Boolean(default=False)
    digest = Bytea(default=b"")


class Owner(Table):
    id = Serial(primary_key=True)
    name = Varchar(64)
    thing = ForeignKey(Thing)


@pytest.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    database = open_database(engine_url)
    for table in (Thing, Owner):
        table._meta._db = database.engine
    await Thing.create_table()
    async with database.transaction() as connection:
        number = "SERIAL PRIMARY KEY" if database.definitions_commit else "INTEGER PRIMARY KEY AUTOINCREMENT"
        await connection.execute(f"CREATE TABLE owner (id {number}, name VARCHAR(64) NOT NULL, thing UUID)")
    yield database
    await database.close()


async def names() -> list[str]:
    return list(await Thing.select(Thing.name).order_by(Thing.name).output(as_list=True))


async def test_a_saved_object_comes_back_as_it_was(database: Database) -> None:
    thing = Thing(id=new_id(), name="apple", amount=2**53 - 1, flag=True, digest=b"\x00\xff")
    await thing.save()

    found = await Thing.objects().get(Thing.id == thing.id)

    assert found is not None
    assert (found.id, found.amount, found.flag, found.digest) == (thing.id, 2**53 - 1, True, b"\x00\xff")
    assert isinstance(found.id, UUID)


async def test_queries_inside_a_transaction_are_of_it(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await Thing(name="apple", amount=1).save()
            assert await names() == ["apple"]
            assert await connection.fetch("SELECT name FROM thing") == [("apple",)]
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert await names() == []


async def test_queries_and_statements_commit_together(database: Database) -> None:
    async with database.transaction() as connection:
        await Thing(name="apple", amount=1).save()
        await connection.execute("UPDATE thing SET amount = $1 WHERE name = $2", 5, "apple")

    assert await Thing.select(Thing.amount) == [{"amount": 5}]


async def test_queries_outside_commit_by_themselves(database: Database) -> None:
    await Thing.insert(Thing(name="apple", amount=1), Thing(name="pear", amount=2))
    await Thing.update({Thing.amount: Thing.amount + 1}).where(Thing.name == "pear")
    await Thing.delete().where(Thing.name == "apple")

    async with database.snapshot() as connection:
        assert await connection.fetch("SELECT name, amount FROM thing") == [("pear", 3)]


async def test_a_query_inside_a_snapshot_sees_its_state(database: Database) -> None:
    async with database.snapshot():
        before = await names()
        await asyncio.create_task(save("apple"))
        after = await names()

    assert before == after == []


async def save(name: str) -> None:
    await Thing(name=name, amount=1).save()


async def test_a_task_started_inside_a_transaction_does_not_write_into_it(database: Database) -> None:
    started: list[asyncio.Task[None]] = []

    async def fail() -> None:
        async with database.transaction():
            started.append(asyncio.create_task(save("apple")))
            await asyncio.sleep(0.01)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    await started[0]

    assert await names() == ["apple"]


async def test_a_task_outlives_the_transaction_it_was_started_in(database: Database) -> None:
    release = asyncio.Event()

    async def later() -> list[str]:
        await release.wait()
        return await names()

    async with database.transaction():
        started = asyncio.create_task(later())
        await Thing(name="apple", amount=1).save()
    release.set()

    assert await started == ["apple"]


async def test_piccolos_own_transaction_is_the_outer_one(database: Database) -> None:
    async with database.transaction():
        await save("apple")
        async with database.engine.transaction():
            await save("pear")

    assert await names() == ["apple", "pear"]


async def test_piccolos_own_transaction_rolls_back(database: Database) -> None:
    async def fail() -> None:
        async with database.engine.transaction():
            await save("apple")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert await names() == []


async def test_a_savepoint_undoes_a_part(database: Database) -> None:
    async with database.engine.transaction() as transaction:
        await save("apple")
        savepoint = await transaction.savepoint()
        await save("pear")
        await savepoint.rollback_to()

    assert await names() == ["apple"]


async def test_a_transaction_that_was_rolled_back_by_hand_runs_nothing_more(database: Database) -> None:
    async with database.engine.transaction() as transaction:
        await save("apple")
        await transaction.rollback()
        with pytest.raises(Exception, match="rolled back"):
            await save("pear")

    assert await names() == []


async def test_many_queries_at_once_share_the_connections(database: Database) -> None:
    await asyncio.gather(*(save(f"name-{number:02}") for number in range(50)))
    counts = await asyncio.gather(*(Thing.count() for _ in range(50)))

    assert counts == [50] * 50


async def test_the_engine_tells_whether_the_task_is_in_a_transaction(database: Database) -> None:
    async def ask() -> bool:
        return database.engine.transaction_exists()

    async with database.transaction():
        inside, in_another_task = await ask(), await asyncio.create_task(ask())

    assert (inside, in_another_task, await ask()) == (True, False, False)


async def test_an_insert_returns_the_numbers_that_the_server_gave(database: Database) -> None:
    first = await Owner.insert(Owner(name="ann"))
    more = await Owner.insert(Owner(name="bob"), Owner(name="cat")).returning(Owner.id, Owner.name)

    assert [first[0]["id"], *(row["id"] for row in more)] == [1, 2, 3]
    assert [row["name"] for row in more] == ["bob", "cat"]


async def test_a_join_reads_both_tables(database: Database) -> None:
    thing = Thing(id=new_id(), name="apple", amount=7)
    await thing.save()
    await Owner.insert(Owner(name="ann", thing=thing.id), Owner(name="bob"))

    rows = await Owner.select(Owner.name, Owner.thing.name, Owner.thing.id).order_by(Owner.name)

    assert rows == [
        {"name": "ann", "thing.name": "apple", "thing.id": thing.id},
        {"name": "bob", "thing.name": None, "thing.id": None},
    ]


async def test_rows_are_counted_summed_and_looked_for(database: Database) -> None:
    await Thing.insert(*(Thing(name=f"name-{number}", amount=number) for number in range(10)))

    sums = await Thing.select(Sum(Thing.amount, alias="sum"), Max(Thing.amount, alias="max")).first()
    page = await Thing.select(Thing.amount).order_by(Thing.amount, ascending=False).limit(3).offset(2)

    assert sums == {"sum": 45, "max": 9}
    assert [row["amount"] for row in page] == [7, 6, 5]
    assert await Thing.exists().where(Thing.name == "name-3")
    assert not await Thing.exists().where(Thing.name == "NAME-3")
    assert await Thing.count().where(Thing.name.is_in(["name-1", "name-2", "nobody"])) == 2


async def test_an_upsert_updates_what_is_there(database: Database) -> None:
    first, second = Thing(id=new_id(), name="apple", amount=1), Thing(id=new_id(), name="apple", amount=2)
    await first.save()
    second.id = first.id

    await Thing.insert(second).on_conflict(target=Thing.id, action="DO UPDATE", values=[Thing.amount])
    ignored = await Thing.insert(Thing(id=first.id, name="apple", amount=3)).on_conflict(
        target=Thing.id, action="DO NOTHING"
    )

    assert ignored == []
    assert await Thing.select(Thing.amount) == [{"amount": 2}]


async def test_a_text_is_appended_and_an_unchanged_row_is_updated(database: Database) -> None:
    await save("apple")

    await Thing.update({Thing.name: Thing.name + " %'\\"}).where(Thing.amount == 1)
    await Thing.update({Thing.amount: 1}).where(Thing.amount == 1)

    assert await names() == ["apple %'\\"]


async def test_a_key_that_exists_is_named_by_piccolos_queries_too(database: Database) -> None:
    await save("apple")

    with pytest.raises(DuplicateKeyError):
        await save("apple")


async def test_locked_rows_are_waited_for_or_skipped(database: Database) -> None:
    if not database.definitions_commit:
        pytest.skip("on SQLite a transaction that writes excludes all others, and Piccolo locks no rows")
    await Thing.insert(Thing(name="apple", amount=1), Thing(name="pear", amount=2))

    async def free() -> list[str]:
        async with database.transaction():
            query = Thing.select(Thing.name).lock_rows("UPDATE", skip_locked=True)
            return [row["name"] for row in await query]

    async with database.transaction():
        await Thing.select(Thing.name).where(Thing.name == "apple").lock_rows("UPDATE")
        others = await asyncio.create_task(free())

    assert others == ["pear"]


async def test_what_mysql_cannot_return_is_refused_before_it_runs(database: Database) -> None:
    if not database.definitions_commit:
        pytest.skip("SQLite returns what a statement changed")
    await save("apple")

    with pytest.raises(ValueError, match="RETURNING"):
        await Thing.update({Thing.amount: 9}).where(Thing.name == "apple").returning(Thing.id)
    with pytest.raises(ValueError, match="RETURNING"):
        await Thing.delete().where(Thing.name == "apple").returning(Thing.id)

    assert await Thing.select(Thing.amount) == [{"amount": 1}]
