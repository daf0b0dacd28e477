"""What can be said of a MySQL or MariaDB database without knowing what it is for."""

from collections.abc import Collection

from services.embedded.verification.sqlite_files import FRACTION_WORDS, INTEGER_MAX
from services.money import AMOUNT_MINOR_MAX
from services.runtime.database.port import Connection
from services.runtime.database_opening import open_database

_COLUMNS = """
    SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position
"""

_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"


async def odd_numbers_of(database_url: str, *, larger: Collection[tuple[str, str]] = ()) -> tuple[int, list[str]]:
    """Look at every large-number column of every table: whole numbers within 2^53 - 1 only.

    Args:
        database_url: Of a database.
        larger: Columns, as (table, column), whose whole numbers may be larger.

    Returns:
        How many columns there are, and what is wrong with them. Instants in microseconds fit too, until the year 2255.
    """
    columns, odd = 0, []
    database = open_database(database_url)
    try:
        async with database.snapshot() as connection:
            for table, name, kind in await connection.fetch(_COLUMNS):
                columns += kind.upper() == "BIGINT"
                size_max = INTEGER_MAX if (table, name) in larger else AMOUNT_MINOR_MAX
                odd += await _odd_numbers(connection, table, name, kind.upper(), size_max)
    finally:
        await database.close()
    return columns, odd


async def tables_of(database_url: str) -> set[str]:
    """List the tables."""
    database = open_database(database_url)
    try:
        async with database.snapshot() as connection:
            return {table for (table,) in await connection.fetch(_TABLES)}
    finally:
        await database.close()


async def _odd_numbers(connection: Connection, table: str, column: str, kind: str, size_max: int) -> list[str]:
    if any(word in kind for word in FRACTION_WORDS):
        return [f"{table}.{column} is declared {kind}"]
    if kind != "BIGINT":
        return []
    ((count,),) = await connection.fetch(
        f"SELECT COUNT(*) FROM {table} WHERE {column} NOT BETWEEN -{size_max} AND {size_max}"  # noqa: S608 - names from the server's own catalogue
    )
    return [f"{table}.{column} has {count} values outside of {size_max}"] if count else []
