"""The check of all numbers of a MySQL database reads each table in spans of its key, and leaves no row out."""

from contextlib import closing

import pytest

from services.embedded.verification import mysql_numbers
from services.embedded.verification.mysql_numbers import odd_numbers_of
from tests.parts.sql_servers import administrator

TOO_LARGE = 2**53

ROWS = 10


@pytest.fixture(params=["mysql_url", "mariadb_url"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that is read three rows at once."""
    monkeypatch.setattr(mysql_numbers, "SPAN_ROWS", 3)
    return str(request.getfixturevalue(request.param))


def run(url: str, *statements: str) -> None:
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def make_tables(url: str) -> None:
    rows = ", ".join(f"({n % 2}, 'name {n}', {n}, NULL)" for n in range(ROWS))
    run(
        url,
        "CREATE TABLE kept (part INT, name VARBINARY(20), amount BIGINT, other BIGINT, PRIMARY KEY (part, name))",
        "CREATE TABLE keyless (amount BIGINT, name VARBINARY(20))",
        "CREATE TABLE without_rows (amount BIGINT PRIMARY KEY)",
        f"INSERT INTO kept VALUES {rows}",  # noqa: S608 - the test's own
        "INSERT INTO keyless SELECT amount, name FROM kept",
    )


async def test_numbers_within_bounds_are_counted_and_none_is_odd(url: str) -> None:
    make_tables(url)
    told: list[tuple[int, int]] = []

    checked = await odd_numbers_of(url, lambda *reached: told.append(reached))

    assert checked == (4, [])
    assert told[-1][0] == 2 * ROWS


@pytest.mark.parametrize("table", ["kept", "keyless"])
async def test_a_number_out_of_bounds_is_found_in_every_row(url: str, table: str) -> None:
    make_tables(url)

    found = []
    for row in range(ROWS):
        run(url, f"UPDATE {table} SET amount = amount + {TOO_LARGE} WHERE name = 'name {row}'")  # noqa: S608 - the test's own
        found.append((await odd_numbers_of(url))[1])
        run(url, f"UPDATE {table} SET amount = amount - {TOO_LARGE} WHERE name = 'name {row}'")  # noqa: S608 - the test's own

    assert found == [[f"{table}.amount has 1 values outside of {TOO_LARGE - 1}"]] * ROWS


async def test_a_column_may_be_allowed_larger_numbers(url: str) -> None:
    make_tables(url)
    run(url, f"UPDATE kept SET amount = {TOO_LARGE}")  # noqa: S608 - the test's own

    _, odd = await odd_numbers_of(url, larger={("kept", "amount")})

    assert odd == []
