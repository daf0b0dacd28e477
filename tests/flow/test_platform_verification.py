"""Verification finds what was changed: any byte of the journal, an event that was lost, a file that is damaged."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from services.embedded.data_folder import DataFolder
from services.embedded.verification.folder import verify_folder
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.dead_letters import DISCARDED, HANDLED, DeadLetter, Origin, published, settled
from tests.support.platform import platform_process
from tests.support.public_shop import public_shop, until_state

OF_RECORDS = "kind record_id key_hash state_after postings_root hash recorded_at effective_at"
OF_POSTINGS = "amount balance_after account_sequence salt hash"
JOURNAL = [("records", column) for column in OF_RECORDS.split()] + [
    ("postings", column) for column in OF_POSTINGS.split()
]


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a platform that settled and refunded an order, and was stopped."""
    data: Path = tmp_path_factory.mktemp("platform") / "data"
    with platform_process(data) as process:
        asyncio.run(_trade(process.gateway_url, data))
        assert process.stop() == 0
    return data


async def _trade(gateway_url: str, data: Path) -> None:
    async with public_shop(gateway_url, data) as shop:
        buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000)
        order = await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED")
        await seller.client.refund(order.order_id, {1: 1})


@pytest.fixture
def copy(traded: Path, tmp_path: Path) -> DataFolder:
    """A copy to change."""
    for name in ("ledger.db", "orders.db", "broker.db"):
        with closing(sqlite3.connect(traded / name)) as source, closing(sqlite3.connect(tmp_path / name)) as target:
            source.backup(target)
    return DataFolder(tmp_path)


async def violated(folder: DataFolder) -> set[int]:
    return {one.number for one in await verify_folder(folder) if not one.holds}


def change(file: Path, sql: str, *arguments: object) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        assert database.execute(sql, arguments).rowcount > 0


async def test_nothing_is_wrong_with_what_the_platform_left(copy: DataFolder) -> None:
    checked = await verify_folder(copy)

    assert [one.number for one in checked if not one.holds] == []
    assert all(any(letter in "123456789" for letter in one.looked_at) for one in checked), "an empty check shows"


@pytest.mark.parametrize(("table", "column"), JOURNAL)
async def test_a_changed_value_of_the_journal_is_found(copy: DataFolder, table: str, column: str) -> None:
    with closing(sqlite3.connect(copy.ledger_database)) as database, database:
        rowid, value = database.execute(
            f"SELECT rowid, {column} FROM {table} ORDER BY rowid DESC LIMIT 1"  # noqa: S608 - names from above
        ).fetchone()
        other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (other, rowid))  # noqa: S608 - the same

    assert 7 in await violated(copy)


async def test_a_flipped_bit_in_the_file_is_found_wherever_the_journal_lies(copy: DataFolder) -> None:
    with closing(sqlite3.connect(copy.ledger_database)) as database:
        hashes = [
            value for (value,) in database.execute("SELECT hash FROM records UNION ALL SELECT hash FROM postings")
        ]
    whole = copy.ledger_database.read_bytes()
    missed = []

    for digest in hashes:
        place = whole.index(digest) + len(digest) // 2
        copy.ledger_database.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if 7 not in await violated(copy):
            missed.append(place)

    assert hashes
    assert missed == []


async def test_a_file_that_is_no_database_is_a_finding_and_no_crash(copy: DataFolder) -> None:
    copy.ledger_database.write_bytes(b"no database at all" * 1_000)

    assert {1, 2, 3, 4, 5, 6, 7, 8} <= await violated(copy)


async def test_a_broken_catalogue_is_a_finding_and_no_crash(copy: DataFolder) -> None:
    whole = copy.ledger_database.read_bytes()
    copy.ledger_database.write_bytes(whole.replace(b"CREATE TABLE books", b"CRE\xc4TE TABLE books"))

    assert 7 in await violated(copy)


async def test_an_event_that_never_reached_the_log_is_found(copy: DataFolder) -> None:
    change(copy.broker_file, 'DELETE FROM "log:wallet-events" WHERE message_offset = 3')

    assert await violated(copy) == {6}


async def test_an_event_that_was_changed_in_the_log_is_found(copy: DataFolder) -> None:
    change(copy.broker_file, """UPDATE "log:wallet-events" SET value = value || x'00' WHERE message_offset = 4""")

    assert await violated(copy) == {6}


async def test_a_repeated_event_is_no_violation(copy: DataFolder) -> None:
    repeat = (
        'INSERT INTO "log:wallet-events" (message_key, value, headers, published_at) '
        'SELECT message_key, value, headers, published_at FROM "log:wallet-events" WHERE message_offset = 2'
    )
    change(copy.broker_file, repeat)

    assert await violated(copy) == set()


async def test_a_dead_letter_is_a_violation(copy: DataFolder) -> None:
    letter = (
        'INSERT INTO "log:wallet-events.dlq" (message_key, value, headers, published_at) '
        'SELECT message_key, value, headers, published_at FROM "log:wallet-events" WHERE message_offset = 2'
    )
    change(copy.broker_file, letter)

    assert await violated(copy) == {6}


async def test_a_letter_is_a_violation_until_it_took_effect_and_for_good_when_it_was_given_up(copy: DataFolder) -> None:
    origin = Origin(topic="wallet-events", partition=0, offset=2, consumer="orders")
    letter = DeadLetter(origin=origin, reason="malformed_event", key=b"wallet", value=b"", headers={})
    other = replace(letter, origin=replace(origin, offset=3))
    broker = SqliteBroker(copy.broker_file)
    steps = (published(letter), settled(letter, HANDLED), published(other), settled(other, DISCARDED))

    found = []
    for message in steps:
        await broker.producer().publish([message])
        found.append(await violated(copy))
    await broker.close()

    assert found == [{6}, set(), {6}, {6}]


async def test_an_amount_that_is_no_whole_number_is_found(copy: DataFolder) -> None:
    change(copy.orders_database, "UPDATE products SET price_minor = 10.5")

    assert 9 in await violated(copy)


async def test_turnovers_may_be_larger_than_amounts(copy: DataFolder) -> None:
    more = "UPDATE balances SET debits_posted = debits_posted + ?, credits_posted = credits_posted + ?"
    change(copy.ledger_database, more, 2**53, 2**53)

    # That no postings stand behind them is found, of course.
    assert 9 not in await violated(copy)


async def test_an_amount_larger_than_amounts_are_is_found(copy: DataFolder) -> None:
    change(copy.orders_database, "UPDATE products SET price_minor = 9007199254740992")

    assert 9 in await violated(copy)


async def test_an_order_without_its_hold_is_found(copy: DataFolder) -> None:
    change(copy.orders_database, "UPDATE orders SET state = 'CANCELLED'")

    assert 5 in await violated(copy)
